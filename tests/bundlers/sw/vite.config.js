// The service worker is an entry of its own, whose name stays.
export default {
  build: {
    target: 'es2022',
    rollupOptions: {
      input: ['index.html', 'sw.js'],
      output: { entryFileNames: ({ name }) => (name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js') },
    },
  },
};
