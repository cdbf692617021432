//! The pages: regular files of a folder, and nothing else that can be reached through it.

use std::path::{Component, Path, PathBuf};

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use tower_http::services::ServeFile;
use tracing::error;

/// The one name with a leading dot that is served: RFC 8615 reserves it for what the public is meant to read.
const WELL_KNOWN: &str = ".well-known";

/// A folder whose files are served.
#[derive(Clone)]
pub(crate) struct Pages(PathBuf);

impl Pages {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Pages(folder)
    }

    /// The file that the request's path names. Where there is none that may be served, the answer does not tell why.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
        }
        let Some(file) = self.find(request.uri().path()).await else {
            return (StatusCode::NOT_FOUND, "There is no such page.\n").into_response();
        };
        ServeFile::new(file).try_call(request).await.map_or_else(
            |error| {
                error!("a page cannot be read: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            },
            IntoResponse::into_response,
        )
    }

    /// A file is opened only when it is known to be a regular one: opening a pipe would wait for its writer.
    async fn find(&self, path: &str) -> Option<PathBuf> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let mut named = self.0.clone();
        // Also `..`, which begins with a dot. A NUL never names a file.
        for name in path.split('/').filter(|name| !name.is_empty()) {
            named.push(Some(name).filter(|name| !is_hidden(name))?);
        }
        if path.ends_with('/') {
            named.push("index.html");
        }
        // The folder may itself be a link, and be pointed at a newer version of the page while the relay runs.
        let folder = tokio::fs::canonicalize(&self.0).await.ok()?;
        let file = tokio::fs::canonicalize(named).await.ok()?;
        // Where links lead to is hidden by the same rules as what is named.
        let is_shown = file.strip_prefix(&folder).is_ok_and(is_shown);
        (is_shown && tokio::fs::metadata(&file).await.ok()?.is_file()).then_some(file)
    }
}

fn is_shown(inside: &Path) -> bool {
    inside.components().all(|part| matches!(part, Component::Normal(name) if name.to_str().is_none_or(|name| !is_hidden(name))))
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && name != WELL_KNOWN
}
