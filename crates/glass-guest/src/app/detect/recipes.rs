//! What is known of frameworks: by what they are recognised, and how they are started behind the preview.
//!
//! The order decides: one that builds on another stands before it.

/// A framework of JavaScript. `$PORT` in commands is the port of `web`.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: &'static str,
    /// Packages, of each row one.
    pub(super) packages: &'static [&'static [&'static str]],
    /// Its own command for development.
    pub(super) command: &'static str,
    /// What that takes to listen where it should.
    pub(super) flags: &'static str,
    /// Variables that say the same; put before the command.
    pub(super) env: &'static str,
    /// Scripts of `package.json` that start it, the best first.
    pub(super) scripts: &'static [&'static str],
    /// Where it listens when nobody can tell it. None when it heeds `PORT`.
    pub(super) usual_port: Option<u16>,
    pub(super) health_path: Option<&'static str>,
}

const DEV: &[&str] = &["dev", "start"];
const VITE: &str = "--host 127.0.0.1 --port $PORT --strictPort";
const HOST_PORT: &str = "--host 127.0.0.1 --port $PORT";

/// What most have.
const NODE: Node = Node {
    name: "",
    packages: &[],
    command: "",
    flags: "",
    env: "",
    scripts: DEV,
    usual_port: None,
    health_path: None,
};

const fn vite(name: &'static str, packages: &'static [&'static [&'static str]]) -> Node {
    Node {
        name,
        packages,
        command: "vite",
        flags: VITE,
        usual_port: Some(5173),
        ..NODE
    }
}

pub(super) const NODES: &[Node] = &[
    Node {
        name: "payload",
        packages: &[&["payload"], &["next"]],
        command: "next dev",
        flags: "--hostname 127.0.0.1 --port $PORT",
        ..NODE
    },
    Node {
        name: "nextjs",
        packages: &[&["next"]],
        command: "next dev",
        flags: "--hostname 127.0.0.1 --port $PORT",
        ..NODE
    },
    Node {
        name: "nuxt",
        packages: &[&["nuxt", "nuxt-nightly"]],
        command: "nuxt dev",
        flags: HOST_PORT,
        ..NODE
    },
    Node {
        name: "solidstart",
        packages: &[&["@solidjs/start"]],
        command: "vinxi dev",
        flags: HOST_PORT,
        ..NODE
    },
    vite("sveltekit", &[&["@sveltejs/kit"]]),
    vite(
        "tanstack-start",
        &[&[
            "@tanstack/react-start",
            "@tanstack/solid-start",
            "@tanstack/start",
        ]],
    ),
    Node {
        name: "react-router",
        packages: &[&["@react-router/dev"]],
        command: "react-router dev",
        flags: HOST_PORT,
        usual_port: Some(5173),
        ..NODE
    },
    Node {
        name: "remix-vite",
        packages: &[&["@remix-run/dev"]],
        command: "remix vite:dev",
        flags: HOST_PORT,
        usual_port: Some(5173),
        ..NODE
    },
    vite(
        "qwik",
        &[&[
            "@builder.io/qwik",
            "@builder.io/qwik-city",
            "@qwik.dev/core",
            "@qwik.dev/router",
        ]],
    ),
    Node {
        name: "astro-node-server",
        packages: &[&["astro"], &["@astrojs/node"]],
        command: "astro dev",
        flags: HOST_PORT,
        usual_port: Some(4321),
        ..NODE
    },
    Node {
        name: "astro",
        packages: &[&["astro"]],
        command: "astro dev",
        flags: HOST_PORT,
        usual_port: Some(4321),
        ..NODE
    },
    Node {
        name: "gatsby",
        packages: &[&["gatsby"]],
        command: "gatsby develop",
        flags: HOST_PORT,
        scripts: &["develop", "dev", "start"],
        usual_port: Some(8000),
        ..NODE
    },
    Node {
        name: "docusaurus",
        packages: &[&["@docusaurus/core"]],
        command: "docusaurus start",
        flags: "--host 127.0.0.1 --port $PORT --no-open",
        ..NODE
    },
    Node {
        name: "eleventy",
        packages: &[&["@11ty/eleventy"]],
        command: "eleventy --serve",
        flags: "--port=$PORT",
        scripts: &["dev", "start", "serve"],
        usual_port: Some(8080),
        ..NODE
    },
    Node {
        name: "slidev",
        packages: &[&["@slidev/cli"]],
        command: "slidev",
        flags: "--port $PORT --open false",
        usual_port: Some(3030),
        ..NODE
    },
    Node {
        name: "angular",
        packages: &[&["@angular/cli"]],
        command: "ng serve",
        flags: HOST_PORT,
        scripts: &["start", "dev"],
        usual_port: Some(4200),
        ..NODE
    },
    Node {
        name: "nestjs",
        packages: &[&["@nestjs/core"]],
        command: "nest start --watch",
        scripts: &["start:dev", "dev", "start"],
        ..NODE
    },
    Node {
        name: "strapi",
        packages: &[&["@strapi/strapi"]],
        command: "strapi develop",
        scripts: &["develop", "dev", "start"],
        health_path: Some("/_health"),
        ..NODE
    },
    Node {
        name: "directus",
        packages: &[&["directus"]],
        command: "directus start",
        health_path: Some("/server/ping"),
        ..NODE
    },
    Node {
        name: "ghost",
        packages: &[&["ghost"]],
        command: "node node_modules/ghost/index.js",
        env: "server__host=127.0.0.1 server__port=$PORT",
        ..NODE
    },
    Node {
        name: "n8n",
        packages: &[&["n8n"]],
        command: "n8n start",
        env: "N8N_LISTEN_ADDRESS=127.0.0.1 N8N_PORT=$PORT",
        health_path: Some("/healthz"),
        ..NODE
    },
    vite("react-vite", &[&["vite"], &["react"]]),
    vite("vite-vue", &[&["vite"], &["vue"]]),
    vite("vite", &[&["vite"]]),
    Node {
        name: "hono",
        packages: &[&["hono"]],
        ..NODE
    },
    Node {
        name: "node-express",
        packages: &[&["express"]],
        ..NODE
    },
    Node {
        name: "drizzle-sqlite",
        packages: &[
            &["drizzle-orm"],
            &["better-sqlite3", "@libsql/client", "libsql", "sqlite3"],
        ],
        ..NODE
    },
    // Last: most who have it have an app of one of the kinds above beside it.
    Node {
        name: "storybook",
        packages: &[&[
            "storybook",
            "@storybook/react",
            "@storybook/vue3",
            "@storybook/html",
        ]],
        command: "storybook dev",
        flags: "--host 127.0.0.1 --port $PORT --ci",
        scripts: &["storybook"],
        usual_port: Some(6006),
        ..NODE
    },
];

/// A framework of Python, known by what the app's file imports.
#[derive(Debug)]
pub(super) struct Python {
    pub(super) name: &'static str,
    pub(super) imports: &'static [&'static str],
    /// Arguments of `python`: `{file}`, `{module}` and `{app}` are put in.
    pub(super) command: &'static str,
    pub(super) env: &'static str,
    /// What makes the application; to find the name that is given to it.
    pub(super) calls: &'static [&'static str],
    pub(super) usual_port: Option<u16>,
    pub(super) health_path: Option<&'static str>,
    /// Whether it notices changes of its files by itself.
    pub(super) reloads: bool,
}

const PYTHON: Python = Python {
    name: "",
    imports: &[],
    command: "{file}",
    env: "",
    calls: &[],
    usual_port: None,
    health_path: None,
    reloads: true,
};

const UVICORN: &str = "-m uvicorn {module}:{app} --host 127.0.0.1 --port $PORT --reload";

pub(super) const PYTHONS: &[Python] = &[
    Python {
        name: "streamlit",
        imports: &["streamlit"],
        command: "-m streamlit run {file} --server.address 127.0.0.1 --server.port $PORT --server.headless true --server.enableCORS false --server.enableXsrfProtection false",
        health_path: Some("/_stcore/health"),
        ..PYTHON
    },
    Python {
        name: "chainlit",
        imports: &["chainlit"],
        command: "-m chainlit run {file} --host 127.0.0.1 --port $PORT --headless --watch",
        ..PYTHON
    },
    Python {
        name: "gradio",
        imports: &["gradio"],
        env: "GRADIO_SERVER_NAME=127.0.0.1 GRADIO_SERVER_PORT=$PORT GRADIO_ANALYTICS_ENABLED=False",
        reloads: false,
        ..PYTHON
    },
    Python {
        name: "nicegui",
        imports: &["nicegui"],
        usual_port: Some(8080),
        ..PYTHON
    },
    Python {
        name: "dash",
        imports: &["dash"],
        reloads: false,
        ..PYTHON
    },
    Python {
        name: "fasthtml",
        imports: &["fasthtml"],
        ..PYTHON
    },
    Python {
        name: "fastapi",
        imports: &["fastapi"],
        command: UVICORN,
        calls: &["FastAPI("],
        ..PYTHON
    },
    Python {
        name: "sanic",
        imports: &["sanic"],
        command: "-m sanic {module}:{app} --host 127.0.0.1 --port $PORT --dev",
        calls: &["Sanic("],
        ..PYTHON
    },
    Python {
        name: "flask",
        imports: &["flask"],
        command: "-m flask --app {module} run --host 127.0.0.1 --port $PORT --debug",
        ..PYTHON
    },
    Python {
        name: "python-asgi",
        imports: &["starlette", "litestar", "quart", "blacksheep"],
        command: UVICORN,
        calls: &["Starlette(", "Litestar(", "Quart(", "Application("],
        ..PYTHON
    },
];
