// Runs in every document before its own scripts: a way to wait for `bench`, and to find the memories of WebAssembly.
(() => {
  let ready;
  globalThis.benchReady = new Promise((resolve, reject) => {
    ready = { resolve, reject };
  });
  globalThis.benchIsReady = (bench) => ready.resolve(Object.assign(bench, { wasmBytes }));
  addEventListener('error', (event) => ready.reject(event.error ?? new Error(event.message)));
  globalThis.benchReady.catch(() => {});

  const memories = new Set();
  const wasmBytes = () => [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
  const collect = (values) => {
    for (const value of Object.values(values ?? {})) if (value instanceof WebAssembly.Memory) memories.add(value);
  };
  const found = (imports, instance) => {
    for (const module of Object.values(imports ?? {})) collect(module);
    collect(instance.exports);
  };
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (source, imports) => {
      const result = await original.call(WebAssembly, source, imports);
      found(imports, result.instance ?? result);
      return result;
    };
  }
  WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
    construct(target, args, newTarget) {
      const instance = Reflect.construct(target, args, newTarget);
      found(args[1], instance);
      return instance;
    },
  });
})();
