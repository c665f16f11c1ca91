import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { UsageError } from "../../exit.ts";
import {
  formatSetting,
  kebab,
  resolveServerSettings,
  type SettingSources,
  serverSettings,
  settingNames,
  shownValue,
  valuesOf,
  variableOf,
} from "./server-settings.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "warp-settings-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(content: string): string {
  const path = join(folder, "warp.toml");
  writeFileSync(path, content);
  return path;
}

function resolved(sources: Partial<SettingSources>) {
  const all = resolveServerSettings({ flags: {}, environment: {}, file: undefined, ...sources });
  const from = Object.fromEntries(all.map((one) => [one.name, one.from]));
  return { all, values: valuesOf(all), from };
}

const fault = (sources: Partial<SettingSources>): string => {
  try {
    resolved(sources);
  } catch (thrown) {
    if (thrown instanceof UsageError) return thrown.message;
    throw thrown;
  }
  return "";
};

describe("the settings of the server", () => {
  test("have defaults, and say so", () => {
    const { values, from } = resolved({});
    expect(values.data).toBe("./data");
    expect(values.listen).toEqual({ host: "127.0.0.1", port: 7400 });
    expect(values.http).toEqual({ host: "127.0.0.1", port: 7401 });
    expect(values.durability).toBe("fsync");
    expect(values.shards).toBeUndefined();
    expect(new Set(Object.values(from))).toEqual(new Set(["default"]));
  });

  test("come from the command line, then the variables, then the file", () => {
    const path = file('max-connections = 1\nshards = 1\nmode = "log"\n');
    const { values, from } = resolved({
      flags: { maxConnections: "3" },
      environment: { WARP_MAX_CONNECTIONS: "2", WARP_SHARDS: "2" },
      file: path,
    });
    expect(values).toMatchObject({ maxConnections: 3, shards: 2, mode: "log" });
    expect(from).toMatchObject({ maxConnections: "--max-connections", shards: "WARP_SHARDS", mode: path });
  });

  test("that are set to nothing in a variable are not set", () => {
    expect(resolved({ environment: { WARP_CONTEXT: "" } }).from.context).toBe("default");
  });

  test("have sizes, times and addresses with their units", () => {
    const { values } = resolved({
      flags: { memoryTail: "2MiB", settleDelay: "1.5s", listen: "[::1]:0", http: "off", maxBody: "1000" },
    });
    expect(values.memoryTail).toBe(2 * 1024 ** 2);
    expect(values.settleDelay).toBe(1500);
    expect(values.listen).toEqual({ host: "::1", port: 0 });
    expect(values.http).toBe("off");
    expect(values.maxBody).toBe(1000);
    expect(resolved({ environment: { WARP_HTTP_NAMES: "Bank.example,b" } }).values.httpNames).toEqual([
      "bank.example",
      "b",
    ]);
  });

  test("are shown in the form in which they are given", () => {
    for (const { name, value } of resolved({ flags: { httpNames: "bank.example, WWW.bank.example" } }).all) {
      if (value === undefined) continue;
      expect<unknown>(serverSettings[name].parse(formatSetting(value))).toEqual(value);
    }
  });

  test("of the file are relative to the file when they are paths", () => {
    const { values } = resolved({ file: file('data = "store"\napp = "/srv/app.ts"\n') });
    expect(values.data).toBe(join(folder, "store"));
    expect(values.app).toBe("/srv/app.ts");
  });

  test("of the command line and of variables are relative to the working directory when they are paths", () => {
    const { values } = resolved({
      flags: { rootKeyFile: "root.key", app: "warp:bench" },
      environment: { WARP_DATA: "store" },
    });
    expect(values.rootKeyFile).toBe(resolve("root.key"));
    expect(values.data).toBe(resolve("store"));
    expect(values.app).toBe("warp:bench");
    expect(resolved({ file: file('app = "warp:bench"\n') }).values.app).toBe("warp:bench");
  });

  test("that cannot be read are told with their place and the value", () => {
    expect(fault({ flags: { shards: "0" } })).toBe('--shards is a whole number from 1 to 256, not "0"');
    expect(fault({ environment: { WARP_MODE: "fast" } })).toBe('WARP_MODE is one of actor, log, not "fast"');
    for (const names of ["", "a,", "bank.example:443", "https://bank.example", "*"])
      expect(fault({ flags: { httpNames: names } })).toStartWith("--http-names is names of hosts");
    expect(fault({ flags: { listen: "localhost" } })).toBe(
      '--listen is HOST:PORT, or "off", not "localhost"',
    );
    expect(fault({ flags: { listen: "h:70000" } })).toContain("HOST:PORT");
    expect(fault({ flags: { memoryTail: "2 parsecs" } })).toContain("is a size such as");
    const path = file('settle-delay = "soon"\n');
    expect(fault({ file: path })).toBe(
      `${path}: settle-delay is a time such as "10s" (ms, s, min, h), not "soon"`,
    );
  });

  test("that are times are no longer than a timer runs, and backups are a second apart at least", () => {
    const { values } = resolved({ flags: { every: "1s", drainTimeout: "596h", settleDelay: "0" } });
    expect(values).toMatchObject({ every: 1000, drainTimeout: 596 * 3_600_000, settleDelay: 0 });
    for (const name of ["every", "drainTimeout", "settleDelay"]) {
      expect(fault({ flags: { [name]: "720h" } })).toBe(
        `--${kebab(name)} is a time from ${name === "every" ? "1s" : "0s"} to 596h, not "720h"`,
      );
    }
    expect(fault({ flags: { drainTimeout: "2147483647" } })).toContain("to 596h");
    expect(fault({ file: file("every = 0\n") })).toContain('every is a time from 1s to 596h, not "0"');
    expect(fault({ environment: { WARP_EVERY: "999ms" } })).toContain("from 1s");
  });

  test("that may hold passwords are not repeated, when they cannot be read and when they are shown", () => {
    const given = "host postgres://warp:secret@db/warp";
    const told =
      'sinks is NAME=URL, several with spaces between them, such as "warehouse=postgres://db/warp"';
    expect(fault({ flags: { sinks: given } })).toBe(`--${told}`);
    expect(fault({ environment: { WARP_SINKS: given } })).toBe(`WARP_${told.replace("sinks", "SINKS")}`);
    const path = file(`sinks = "${given}"\n`);
    expect(fault({ file: path })).toBe(`${path}: ${told}`);
    const { all } = resolved({
      flags: { sinks: given.replace(" ", "="), rootKeyCommand: "curl https://warp:secret@keys/root" },
    });
    const shown = Object.fromEntries(all.map((one) => [one.name, shownValue(one)]));
    expect(shown).toMatchObject({ sinks: "host", rootKeyCommand: "(not shown)", rootKeyFile: "-" });
    expect(Object.values(shown).join()).not.toContain("secret");
  });

  test("refuse a file with another name, with a list, or that is no TOML", () => {
    expect(fault({ file: file("max-conections = 1\n") })).toContain('there is no setting "max-conections"');
    expect(fault({ file: file("shards = [1]\n") })).toContain("shards is a text or a number");
    // Not the folder of the file, which an empty path would be from there.
    for (const name of ["data", "backup"])
      expect(fault({ file: file(`${name} = ""\n`) })).toContain(`${name} is empty`);
    expect(fault({ file: file("shards = = 1\n") })).toContain("warp.toml");
    expect(fault({ file: join(folder, "absent.toml") })).toContain("absent.toml");
  });

  test("have one root key: the one closer to the command line, and not two in one place", () => {
    const { values } = resolved({
      flags: { rootKeyCommand: "print-key" },
      file: file('root-key-file = "key"\n'),
    });
    expect(values.rootKeyCommand).toBe("print-key");
    expect(values.rootKeyFile).toBeUndefined();
    expect(fault({ flags: { rootKeyCommand: "print-key", rootKeyFile: "key" } })).toContain(
      "cannot both be set",
    );
  });

  test("have three spellings of one name", () => {
    expect(kebab("maxConnections")).toBe("max-connections");
    expect(variableOf("maxConnections")).toBe("WARP_MAX_CONNECTIONS");
    // WARP_ROOT_KEY is the key itself and WARP_ADDR where the other verbs connect; no setting may take them.
    const variables = settingNames.map(variableOf);
    expect(variables).not.toContain("WARP_ROOT_KEY");
    expect(variables).not.toContain("WARP_ADDR");
  });
});
