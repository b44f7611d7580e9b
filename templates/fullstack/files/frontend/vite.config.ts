import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  server: {
    host: "127.0.0.1",
    strictPort: true,
    // The preview comes through a proxy with a host name of its own.
    allowedHosts: true,
    // The back end, which glasshouse.yaml runs as a worker.
    proxy: { "/api": "http://127.0.0.1:8000" },
  },
});
