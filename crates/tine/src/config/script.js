// Prints what a configuration in JavaScript comes to, as JSON after a mark: a config may print too.
(async () => {
  const { createRequire } = await import('node:module');
  const { pathToFileURL } = await import('node:url');
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  const require = createRequire(FILE);
  const functions = [];
  const patterns = [];

  async function load() {
    if (TEXT !== null) {
      const { runInThisContext } = await import('node:vm');
      globalThis.require = require;
      return runInThisContext('(' + TEXT + '\n)', { filename: FILE, timeout: 1000 });
    }
    try {
      return require(FILE);
    } catch (error) {
      const module = ['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'].includes(error.code);
      const words = error instanceof SyntaxError && /import|export|await/.test(error.message);
      if (!module && !words) throw error;
      return import(pathToFileURL(FILE));
    }
  }

  async function plain(given, at, above) {
    const value = await given;
    if (typeof value === 'function') functions.push(at);
    if (typeof value === 'function' || typeof value === 'symbol') return undefined;
    if (typeof value === 'bigint') return String(value);
    if (value === null || typeof value !== 'object') return value;
    if (value instanceof RegExp) {
      patterns.push(at);
      return value.source;
    }
    if (typeof value.toJSON === 'function') return value.toJSON();
    if (above.includes(value)) throw new Error(at + ' contains itself');
    const below = [...above, value];
    if (Array.isArray(value)) {
      return Promise.all(value.map((item, i) => plain(item, at + '[' + i + ']', below)));
    }
    const copy = {};
    for (const key of Object.keys(value)) {
      copy[key] = await plain(value[key], at ? at + '.' + key : key, below);
    }
    return copy;
  }

  let found = await load();
  const module = found && (found.__esModule || found[Symbol.toStringTag] === 'Module');
  if (module && 'default' in found) found = found.default;
  const config = await plain(found, '', []);
  const answer = JSON.stringify({ config, functions, patterns });
  write('\n' + MARK + '\n' + answer, () => process.exit(0));
})().catch((error) => {
  process.stderr.write(String((error && error.stack) || error) + '\n', () => process.exit(1));
});
