//! The static file server behind `tine serve`: a program like any other, that is run N times on one port.
//!
//! What is asked for comes from the environment, by pm2's names for it (`PM2_SERVE_PATH` …), so that
//! configurations that were written for pm2 serve what they did.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use axum::{
    Router,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::net::TcpListener;
use tower_http::services::{ServeDir, ServeFile};

/// The port when none is named.
pub const DEFAULT_PORT: u16 = 8080;

/// What is served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The directory; its `index.html` answers for `/`, its `404.html` for what is not there.
    pub directory: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// `index.html` answers for all that is not there, with 200: the program in it knows what to show.
    pub spa: bool,
    /// Who may see it; everybody when not said.
    pub login: Option<Login>,
}

/// A name and a password for basic authentication (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Has no colon.
    pub name: String,
    /// As typed.
    pub password: String,
}

impl Site {
    /// From the environment: `PM2_SERVE_PATH` (this directory when not set), `PM2_SERVE_PORT`,
    /// `PM2_SERVE_HOST`, `PM2_SERVE_SPA`, `PM2_SERVE_BASIC_AUTH_USERNAME`, `…_PASSWORD`.
    ///
    /// # Errors
    ///
    /// When one of them cannot be understood.
    pub fn from_env() -> anyhow::Result<Self> {
        let get = |name: &str| env::var(format!("PM2_SERVE_{name}")).ok().filter(|v| !v.is_empty());
        let port = match get("PORT") {
            Some(text) => text.parse().with_context(|| format!("`{text}` is no port"))?,
            None => DEFAULT_PORT,
        };
        let host = get("HOST").unwrap_or_else(|| "0.0.0.0".to_owned());
        let host = host.parse().with_context(|| format!("`{host}` is no address to listen on"))?;
        let login = match (get("BASIC_AUTH_USERNAME"), get("BASIC_AUTH_PASSWORD")) {
            (Some(name), Some(password)) => Some(Login { name, password }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                bail!("basic authentication needs both a user name and a password")
            }
        };
        Ok(Self {
            directory: get("PATH").map_or_else(|| PathBuf::from("."), PathBuf::from),
            address: SocketAddr::new(host, port),
            spa: get("SPA").is_some_and(|value| value != "false"),
            login,
        })
    }

    fn router(&self) -> Router {
        let index = self.directory.join("index.html");
        let missing = self.directory.join("404.html");
        let files = ServeDir::new(&self.directory);
        let router = if self.spa {
            Router::new().fallback_service(files.fallback(ServeFile::new(index)))
        } else {
            Router::new().fallback_service(files.not_found_service(ServeFile::new(missing)))
        };
        let router = router.layer(middleware::from_fn(hide));
        match &self.login {
            Some(login) => router.layer(middleware::from_fn_with_state(login.header(), ask_login)),
            None => router,
        }
    }
}

impl Login {
    /// What a client that knows it says.
    fn header(&self) -> HeaderValue {
        let text = STANDARD.encode(format!("{}:{}", self.name, self.password));
        HeaderValue::from_str(&format!("Basic {text}")).expect("base64 is made for this")
    }
}

/// Names that begin with a dot are nobody's business (`.env`, `.git`), but for `.well-known` (RFC 8615).
async fn hide(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let hidden = path.to_ascii_lowercase().split('/').any(|part| {
        // The file server sees through escapes: an escaped dot is a dot, an escaped slash a slash.
        let dotted = part.starts_with('.') || part.starts_with("%2e") || part.contains("%2f");
        dotted && part != ".well-known"
    });
    if hidden { StatusCode::NOT_FOUND.into_response() } else { next.run(request).await }
}

async fn ask_login(State(wanted): State<HeaderValue>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    if same(given, wanted.as_bytes()) {
        return next.run(request).await;
    }
    let ask = [(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tine\""))];
    (StatusCode::UNAUTHORIZED, ask).into_response()
}

/// Takes as long for a wrong password as for the right one.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let differs = given.iter().zip(wanted).fold(0, |differs, (one, other)| differs | (one ^ other));
    differs == 0 && given.len() == wanted.len()
}

/// Serves until SIGINT or SIGTERM; then open requests finish.
///
/// # Errors
///
/// When the directory is not there, or the address cannot be had.
pub fn run(site: &Site) -> anyhow::Result<()> {
    check(&site.directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(site.address)
            .await
            .with_context(|| format!("listen on {}", site.address))?;
        let stop = stop()?;
        let address = listener.local_addr().context("find out where it listens")?;
        println!("serving {} on http://{address}", site.directory.display());
        axum::serve(listener, site.router())
            .with_graceful_shutdown(stop)
            .await
            .context("serve files")
    })
}

fn check(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    let found = directory.metadata().with_context(|| format!("serve the directory {shown}"))?;
    if !found.is_dir() {
        bail!("{shown} is no directory: name the one that holds the files");
    }
    Ok(())
}

/// What tells it to stop. From now on, not from when it is first waited for.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut int = signal(SignalKind::interrupt()).context("handle SIGINT")?;
    let mut term = signal(SignalKind::terminate()).context("handle SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    })
}
