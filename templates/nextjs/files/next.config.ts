import type { NextConfig } from "next";

const config: NextConfig = {
  // The preview comes through a proxy with a host name of its own; this is every name of two parts or more.
  allowedDevOrigins: ["**.*"],
};

export default config;
