/**
 * Where the programs of peers come from: the machine's own, else unpacked from packages into `bench/peers/.cache`.
 *
 * - Nothing is installed into the system, no service is started, and none of it is a dependency of the project.
 * - npm packages are those of `bench/peers/bun.lock`.
 */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";

const peers = dirname(import.meta.dir);
export const cache = join(peers, ".cache");
const debian = join(cache, "debian");

/** What unpacked programs need to find the libraries that were unpacked with them. */
export const libraryPath = { LD_LIBRARY_PATH: join(debian, "usr/lib/x86_64-linux-gnu") };

/** Loads a package of bench/peers/node_modules. The caller declares what it uses of it: checks run without it. */
export async function loadPackage<Module>(specifier: string): Promise<Module> {
  return (await import(specifier)) as Module;
}

export function packagePath(...parts: readonly string[]): string {
  return join(peers, "node_modules", ...parts);
}

export async function packageVersion(name: string): Promise<string> {
  const { version } = (await Bun.file(packagePath(name, "package.json")).json()) as {
    readonly version: string;
  };
  return version;
}

/** Installs bench/peers/node_modules as bun.lock says, unless that was done. */
export function installNpmPackages(): void {
  const done = packagePath(".installed");
  if (existsSync(done)) return;
  // A native package without a binary for this machine is compiled, against the headers of the Node that is there.
  const node = Bun.which("node");
  const home = node === null ? "" : dirname(dirname(node));
  const headers = existsSync(join(home, "include/node/node.h")) ? { npm_config_nodedir: home } : {};
  run([process.execPath, "install", "--frozen-lockfile"], { cwd: peers, env: headers });
  run(["touch", done]);
}

/** Path of a program: the machine's, or the one of these Debian packages, which are fetched and unpacked. */
export function installDebian(
  program: string,
  packages: readonly string[],
  version: readonly string[],
): string {
  const find = () => [Bun.which(program), ...["usr/bin", "usr/sbin"].map((at) => join(debian, at, program))];
  const found = () => find().find((path) => path !== null && existsSync(path)) ?? undefined;
  let path = found();
  if (path === undefined) {
    if (Bun.which("apt-get") === null || Bun.which("dpkg-deb") === null) {
      throw new Error(
        `${program} is not installed, and there is no apt-get to fetch ${packages.join(", ")} with`,
      );
    }
    const downloads = join(cache, "downloads");
    mkdirSync(downloads, { recursive: true });
    run(["apt-get", "download", ...packages], { cwd: downloads });
    for (const name of readdirSync(downloads).filter((name) => packages.includes(name.split("_")[0] ?? ""))) {
      run(["dpkg-deb", "-x", join(downloads, name), debian]);
    }
    path = found();
  }
  if (path === undefined) throw new Error(`${packages.join(", ")} came without ${program}`);
  run([path, ...version], { env: libraryPath });
  return path;
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** A registry that does not answer is not waited for longer. */
const patienceMs = 600_000;

/** What it printed; throws when it fails, or takes more than ten minutes. */
export function run(command: readonly string[], { cwd, env }: RunOptions = {}): string {
  const options = { env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) };
  const { stdout, stderr, exitCode } = Bun.spawnSync([...command], { ...options, timeout: patienceMs });
  if (exitCode === 0) return stdout.toString();
  throw new Error(`${command.join(" ")} failed: ${stderr.toString().trim().slice(-1000)}`);
}
