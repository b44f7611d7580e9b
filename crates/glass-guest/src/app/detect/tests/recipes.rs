//! One workspace for every framework, with the files that its own starter makes.

use super::{Plan, detect, listing};

/// What is to be found in a workspace.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    install: &'static str,
    web: &'static str,
    port: Option<u16>,
    health: &'static str,
}

const NPM: &str = "npm install --no-audit --no-fund";
const PIP: &str = "pip install --disable-pip-version-check -r requirements.txt";

macro_rules! cases {
    ($($name:literal: [$($file:literal = $text:literal),* $(,)?] $install:expr, $web:literal $(, port $port:literal)? $(, health $health:literal)?;)*) => {
        &[$(Case {
            name: $name,
            files: &[$(($file, $text)),*],
            install: $install,
            web: $web,
            port: { let port: &[u16] = &[$($port)?]; if port.is_empty() { None } else { Some(port[0]) } },
            health: concat!($($health)?),
        }),*]
    };
}

const CASES: &[Case] = cases! {
    "angular": ["package.json" = r#"{"name":"shop","scripts":{"ng":"ng","start":"ng serve","build":"ng build","test":"ng test"},"dependencies":{"@angular/core":"^21.0.0"},"devDependencies":{"@angular/cli":"^21.0.0"}}"#, "angular.json" = "{}", "package-lock.json" = ""]
        NPM, "npm run start -- --host 127.0.0.1 --port $PORT";
    "astro": ["package.json" = r#"{"type":"module","scripts":{"dev":"astro dev","build":"astro build","preview":"astro preview","astro":"astro"},"dependencies":{"astro":"^6.0.0"}}"#, "astro.config.mjs" = "", "pnpm-lock.yaml" = ""]
        "pnpm install", "pnpm run dev --host 127.0.0.1 --port $PORT";
    "astro-node-server": ["package.json" = r#"{"scripts":{"dev":"astro dev","build":"astro build","start":"node ./dist/server/entry.mjs"},"dependencies":{"astro":"^6.0.0","@astrojs/node":"^10.0.0"}}"#]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT";
    "bun": ["package.json" = r#"{"name":"api","module":"index.ts","type":"module","devDependencies":{"@types/bun":"latest"},"peerDependencies":{"typescript":"^5"}}"#, "index.ts" = "", "bun.lock" = "", "tsconfig.json" = ""]
        "bun install", "bun --hot index.ts";
    "chainlit": ["app.py" = "import chainlit as cl\n\n@cl.on_message\nasync def main(message: cl.Message):\n    pass\n", "requirements.txt" = "chainlit\n", "chainlit.md" = ""]
        PIP, ".venv/bin/python -m chainlit run app.py --host 127.0.0.1 --port $PORT --headless --watch";
    "dash": ["app.py" = "from dash import Dash, html\n\napp = Dash()\napp.layout = html.Div('hi')\nif __name__ == '__main__':\n    app.run(debug=True)\n", "requirements.txt" = "dash\n"]
        PIP, ".venv/bin/python app.py";
    "directus": ["package.json" = r#"{"scripts":{"start":"directus bootstrap && directus start"},"dependencies":{"directus":"^11.0.0","sqlite3":"^5.0.0"}}"#, ".env" = ""]
        NPM, "npm run start", health "/server/ping";
    "django": ["manage.py" = "#!/usr/bin/env python\nimport os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n", "requirements.txt" = "Django>=5\n", "shop" = ""]
        PIP, ".venv/bin/python manage.py runserver 127.0.0.1:$PORT";
    "docusaurus": ["package.json" = r#"{"scripts":{"docusaurus":"docusaurus","start":"docusaurus start","build":"docusaurus build"},"dependencies":{"@docusaurus/core":"3.9.0","react":"^19.0.0"}}"#, "docusaurus.config.ts" = "", "yarn.lock" = ""]
        "yarn install", "yarn run start --host 127.0.0.1 --port $PORT --no-open";
    "drizzle-sqlite": ["package.json" = r#"{"scripts":{"dev":"tsx watch src/index.ts"},"dependencies":{"drizzle-orm":"^0.44.0","better-sqlite3":"^12.0.0"},"devDependencies":{"drizzle-kit":"^0.31.0","tsx":"^4.0.0"}}"#, "drizzle.config.ts" = ""]
        NPM, "npm run dev";
    "eleventy": ["package.json" = r#"{"type":"module","devDependencies":{"@11ty/eleventy":"^3.1.0"}}"#, "eleventy.config.js" = "", "index.md" = ""]
        NPM, "npx eleventy --serve --port=$PORT";
    "fastapi": ["main.py" = "from fastapi import FastAPI\n\napp = FastAPI()\n", "uv.lock" = "", "pyproject.toml" = "[project]\nname = 'api'\n"]
        "uv sync", ".venv/bin/python -m uvicorn main:app --host 127.0.0.1 --port $PORT --reload";
    "fasthtml": ["main.py" = "from fasthtml.common import *\n\napp, rt = fast_app()\n\n@rt\ndef index(): return P('hi')\n\nserve()\n", "requirements.txt" = "python-fasthtml\n"]
        PIP, ".venv/bin/python main.py";
    "flask": ["app.py" = "from flask import Flask\n\napp = Flask(__name__)\n", "requirements.txt" = "flask\n"]
        PIP, ".venv/bin/python -m flask --app app run --host 127.0.0.1 --port $PORT --debug";
    "gatsby": ["package.json" = r#"{"scripts":{"develop":"gatsby develop","start":"gatsby develop","build":"gatsby build","serve":"gatsby serve"},"dependencies":{"gatsby":"^5.15.0","react":"^18.2.0"}}"#, "gatsby-config.ts" = ""]
        NPM, "npm run develop -- --host 127.0.0.1 --port $PORT";
    "ghost": ["package.json" = r#"{"private":true,"dependencies":{"ghost":"^6.0.0"}}"#, "config.development.json" = "{}"]
        NPM, "server__host=127.0.0.1 server__port=$PORT node node_modules/ghost/index.js";
    "gradio": ["app.py" = "import gradio as gr\n\ndemo = gr.Interface(fn=str, inputs='text', outputs='text')\ndemo.launch()\n", "requirements.txt" = "gradio\n"]
        PIP, "GRADIO_SERVER_NAME=127.0.0.1 GRADIO_SERVER_PORT=$PORT GRADIO_ANALYTICS_ENABLED=False .venv/bin/python app.py";
    "hono": ["package.json" = r#"{"name":"api","type":"module","scripts":{"dev":"tsx watch src/index.ts","build":"tsc","start":"node dist/index.js"},"dependencies":{"@hono/node-server":"^1.19.0","hono":"^4.10.0"}}"#]
        NPM, "npm run dev";
    "jupyter": ["analysis.ipynb" = "{}", "requirements.txt" = "jupyterlab\npandas\n"]
        PIP, ".venv/bin/python -m jupyter lab --ip 127.0.0.1 --port $PORT --no-browser --ServerApp.allow_remote_access=True";
    "n8n": ["package.json" = r#"{"private":true,"dependencies":{"n8n":"^1.120.0"}}"#]
        NPM, "N8N_LISTEN_ADDRESS=127.0.0.1 N8N_PORT=$PORT npx n8n start", health "/healthz";
    "nestjs": ["package.json" = r#"{"scripts":{"build":"nest build","start":"nest start","start:dev":"nest start --watch","start:prod":"node dist/main"},"dependencies":{"@nestjs/common":"^11.0.0","@nestjs/core":"^11.0.0","@nestjs/platform-express":"^11.0.0"}}"#, "nest-cli.json" = "{}"]
        NPM, "npm run start:dev";
    "nextjs": ["package.json" = r#"{"scripts":{"dev":"next dev --turbopack","build":"next build","start":"next start"},"dependencies":{"next":"16.0.0","react":"19.2.0"}}"#, "next.config.ts" = "", "node_modules" = ""]
        "", "npm run dev -- --hostname 127.0.0.1 --port $PORT";
    "nicegui": ["main.py" = "from nicegui import ui\n\nui.label('hi')\nui.run()\n", "requirements.txt" = "nicegui\n"]
        PIP, ".venv/bin/python main.py", port 8080;
    "node-express": ["package.json" = r#"{"main":"server.js","scripts":{"start":"node server.js","test":"echo no"},"dependencies":{"express":"^5.0.0"}}"#, "server.js" = ""]
        NPM, "npm run start";
    "nuxt": ["package.json" = r#"{"scripts":{"build":"nuxt build","dev":"nuxt dev","postinstall":"nuxt prepare"},"dependencies":{"nuxt":"^4.2.0","vue":"^3.5.0"}}"#, "nuxt.config.ts" = ""]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT";
    "payload": ["package.json" = r#"{"scripts":{"dev":"cross-env NODE_OPTIONS=--no-deprecation next dev","build":"cross-env NODE_OPTIONS=--no-deprecation next build"},"dependencies":{"payload":"^3.60.0","@payloadcms/next":"^3.60.0","next":"15.4.0"}}"#, "pnpm-lock.yaml" = ""]
        "pnpm install", "pnpm run dev --hostname 127.0.0.1 --port $PORT";
    "python-asgi": ["app.py" = "from starlette.applications import Starlette\n\nsite = Starlette(routes=[])\n", "requirements.txt" = "starlette\nuvicorn\n"]
        PIP, ".venv/bin/python -m uvicorn app:site --host 127.0.0.1 --port $PORT --reload";
    "qwik": ["package.json" = r#"{"scripts":{"build":"qwik build","dev":"vite --mode ssr","start":"vite --open --mode ssr"},"devDependencies":{"@builder.io/qwik":"^1.17.0","@builder.io/qwik-city":"^1.17.0","vite":"^7.0.0"}}"#]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT --strictPort";
    "react-router": ["package.json" = r#"{"scripts":{"build":"react-router build","dev":"react-router dev","start":"react-router-serve ./build/server/index.js"},"dependencies":{"react-router":"^7.9.0","@react-router/node":"^7.9.0"},"devDependencies":{"@react-router/dev":"^7.9.0","vite":"^7.0.0"}}"#]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT";
    "react-vite": ["package.json" = r#"{"scripts":{"dev":"vite","build":"tsc -b && vite build","lint":"eslint .","preview":"vite preview"},"dependencies":{"react":"^19.2.0","react-dom":"^19.2.0"},"devDependencies":{"vite":"^7.0.0","@vitejs/plugin-react":"^5.0.0"}}"#, "vite.config.ts" = "", "index.html" = ""]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT --strictPort";
    "remix-vite": ["package.json" = r#"{"scripts":{"build":"remix vite:build","dev":"remix vite:dev","start":"remix-serve ./build/server/index.js"},"dependencies":{"@remix-run/node":"^2.17.0"},"devDependencies":{"@remix-run/dev":"^2.17.0","vite":"^6.0.0"}}"#]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT";
    "sanic": ["server.py" = "from sanic import Sanic\n\nshop = Sanic('Shop')\n", "requirements.txt" = "sanic\n"]
        PIP, ".venv/bin/python -m sanic server:shop --host 127.0.0.1 --port $PORT --dev";
    "slidev": ["package.json" = r#"{"type":"module","scripts":{"build":"slidev build","dev":"slidev --open","export":"slidev export"},"dependencies":{"@slidev/cli":"^52.0.0","vue":"^3.5.0"}}"#, "slides.md" = ""]
        NPM, "npm run dev -- --port $PORT --open false";
    "solidstart": ["package.json" = r#"{"scripts":{"dev":"vinxi dev","build":"vinxi build","start":"vinxi start"},"dependencies":{"@solidjs/start":"^1.2.0","solid-js":"^1.9.0","vinxi":"^0.5.0"}}"#, "app.config.ts" = ""]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT";
    "storybook": ["package.json" = r#"{"scripts":{"storybook":"storybook dev -p 6006","build-storybook":"storybook build"},"devDependencies":{"storybook":"^10.0.0","@storybook/react":"^10.0.0"}}"#]
        NPM, "npm run storybook -- --host 127.0.0.1 --port $PORT --ci";
    "strapi": ["package.json" = r#"{"scripts":{"build":"strapi build","develop":"strapi develop","start":"strapi start","strapi":"strapi"},"dependencies":{"@strapi/strapi":"5.30.0","better-sqlite3":"12.4.1","react":"^18.0.0"}}"#]
        NPM, "npm run develop", health "/_health";
    "streamlit": ["streamlit_app.py" = "import streamlit as st\n\nst.title('hi')\n", "requirements.txt" = "streamlit\n"]
        PIP, ".venv/bin/python -m streamlit run streamlit_app.py --server.address 127.0.0.1 --server.port $PORT --server.headless true --server.enableCORS false --server.enableXsrfProtection false", health "/_stcore/health";
    "sveltekit": ["package.json" = r#"{"type":"module","scripts":{"dev":"vite dev","build":"vite build","preview":"vite preview"},"devDependencies":{"@sveltejs/kit":"^2.48.0","svelte":"^5.0.0","vite":"^7.0.0"}}"#, "svelte.config.js" = ""]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT --strictPort";
    "tanstack-start": ["package.json" = r#"{"scripts":{"dev":"vite dev","build":"vite build"},"dependencies":{"@tanstack/react-start":"^1.130.0","@tanstack/react-router":"^1.130.0","react":"^19.0.0"},"devDependencies":{"vite":"^7.0.0"}}"#]
        NPM, "npm run dev -- --host 127.0.0.1 --port $PORT --strictPort";
    "vite-vue": ["package.json" = r#"{"scripts":{"dev":"vite","build":"run-p type-check \"build-only {@}\" --"},"dependencies":{"vue":"^3.5.0"},"devDependencies":{"vite":"^7.0.0","@vitejs/plugin-vue":"^6.0.0"}}"#, "bun.lock" = ""]
        "bun install", "bun run dev --host 127.0.0.1 --port $PORT --strictPort";
};

#[test]
fn every_framework_is_known_by_its_files() {
    for case in CASES {
        let Plan::Commands(commands) = detect(&listing(case.files)) else {
            panic!("{} is not found", case.name);
        };
        let name = case.name;
        assert_eq!(commands.framework, Some(name));
        let install = commands.install.unwrap_or_default();
        assert_eq!(
            install.is_empty(),
            case.install.is_empty(),
            "{name}: {install}"
        );
        assert!(install.contains(case.install), "{name}: {install}");
        assert_eq!(commands.web.as_deref(), Some(case.web), "{name}");
        assert_eq!(commands.port, case.port, "{name}");
        assert_eq!(
            commands.health_path.unwrap_or_default(),
            case.health,
            "{name}"
        );
    }
    // With static files and workers, which are no commands for the web, these are all.
    assert_eq!(CASES.len(), 40);
}

#[test]
fn a_script_that_takes_no_arguments_is_looked_for_at_the_usual_port() {
    let package = r#"{"scripts":{"dev":"concurrently \"vite\" \"node api.js\" && true"},"dependencies":{"react":"19"},"devDependencies":{"vite":"7"}}"#;
    let Plan::Commands(commands) = detect(&listing(&[("package.json", package)])) else {
        panic!();
    };
    assert_eq!(commands.web.as_deref(), Some("npm run dev"));
    assert_eq!(commands.port, Some(5173));
}

#[test]
fn tables_are_made_before_the_program_that_asks_for_them() {
    let case = CASES
        .iter()
        .find(|case| case.name == "drizzle-sqlite")
        .unwrap();
    let Plan::Commands(commands) = detect(&listing(case.files)) else {
        panic!();
    };
    assert_eq!(commands.build.as_deref(), Some("npx drizzle-kit push"));
}

#[test]
fn a_worker_is_run_without_a_web_process() {
    for (file, command) in [
        ("worker.py", "python3 worker.py"),
        ("worker.js", "node --watch worker.js"),
    ] {
        let Plan::Commands(commands) = detect(&listing(&[(file, "")])) else {
            panic!("{file}");
        };
        assert_eq!(commands.framework, Some("worker"));
        assert_eq!(commands.web, None);
        assert_eq!(commands.workers["worker"], command);
    }
    let page = detect(&listing(&[("worker.js", ""), ("index.html", "")]));
    assert_eq!(page, Plan::Static(""));
}

#[test]
fn names_in_a_package_do_not_become_commands() {
    for main in ["a.js; rm -rf ~", "$(reboot).js", "-e", "../x.js"] {
        let package = serde_json::json!({"main": main, "dependencies": {"express": "5"}});
        let files = [("package.json", package.to_string()), (main, String::new())];
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        assert_eq!(detect(&listing(&files)), Plan::None, "{main}");
    }
}
