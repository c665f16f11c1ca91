/**
 * Starting the Workers of this folder. The addresses stand here because a compiled binary finds a Worker only beside
 * the file that names it.
 */

export function startWriterWorker(): Worker {
  return new Worker(new URL("./writer-worker.ts", import.meta.url));
}

export function startReaderWorker(): Worker {
  return new Worker(new URL("./reader-worker.ts", import.meta.url));
}
