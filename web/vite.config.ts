import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "../src/tracker_server/page/static",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0, // data: URLs would need a wider Content-Security-Policy
    chunkSizeWarningLimit: 1500,
    modulePreload: { polyfill: false },
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  worker: { format: "es" },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8082", ws: true }, "/page": "http://127.0.0.1:8082" } },
});
