import { defineConfig } from 'vitest/config';

// The built files are committed and compared when they are built again, so
// their names come from their content and nothing of the machine is in them.
// Paths are relative: the page works below any prefix.
export default defineConfig({
  base: './',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    sourcemap: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    // npm run dev shows the sources over a running agent.
    proxy: { '/api': { target: 'http://127.0.0.1:9877', changeOrigin: true } },
  },
  test: { environment: 'node', include: ['src/**/*.test.ts', 'src/**/*.test.tsx'] },
});
