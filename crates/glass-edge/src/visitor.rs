//! Who may see a preview, and how a browser keeps its pass.
//!
//! A link carries a pass in its query. Opening it puts the pass into a cookie of this one host and sends the browser to
//! the same address without it, so it is in no history, no log of the app and no `Referer`. Programs send a header.
//! Neither of the three reaches an app.
//!
//! All previews are one site to a browser, so it sends the cookie along with what another sandbox's page asks of this
//! one. Such requests do not count as the visitor's own. Pages may be framed: consoles show previews that way.

use http::header::{
    CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, LOCATION, ORIGIN, REFERER, REFERRER_POLICY,
    SET_COOKIE,
};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;

use crate::body::FromEdge;
use crate::headers;
use crate::pool::Origin;
use crate::{Admission, Denied, EdgeConfig, Origins, Route, Unreachable, route};

/// The parameter of a link that holds its pass.
pub const PASS_PARAMETER: &str = "glasshouse_pass";
/// The header in which programs send a pass.
pub const PASS_HEADER: HeaderName = HeaderName::from_static("x-glasshouse-preview");
/// How many cookies are looked at. Other previews can set some for all hosts of their site, and none of those is good.
const COOKIES: usize = 8;
/// No pass is longer.
const LONGEST: usize = 512;

/// Lets a visitor in, or answers instead: with the same address without the pass, or why not.
pub(crate) fn admit<B>(
    origins: &dyn Origins,
    origin: &Origin,
    host: &HeaderValue,
    config: &EdgeConfig,
    request: &mut Request<B>,
) -> Result<Option<Response<FromEdge>>, Unreachable> {
    let (in_link, bare) = match take_from(request.uri()) {
        Some((pass, bare)) => (Some(pass), Some(bare)),
        None => (None, None),
    };
    let head = request.headers();
    let cookies: Vec<&str> = cookies(head, config).collect();
    let is_own = cookies.is_empty() || is_own(request, origin, config);
    let in_header = head.get(PASS_HEADER).and_then(|pass| pass.to_str().ok());
    let passes: Vec<&str> = in_link
        .as_deref()
        .into_iter()
        .chain(in_header)
        .chain(cookies.into_iter().filter(|_| is_own))
        .filter(|pass| pass.len() <= LONGEST)
        .collect();
    let admission = match origins.admit(&origin.sandbox, origin.port, &passes) {
        Err(Unreachable::Denied(Denied::NoPass)) if !is_own => {
            return Err(Unreachable::Denied(Denied::OtherSite));
        }
        admission => admission?,
    };
    let (Some(pass), Some(bare)) = (in_link, bare) else {
        return Ok(None);
    };
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD)
        && headers::upgrade(request.headers()).is_none();
    if !is_page {
        *request.uri_mut() = bare;
        return Ok(None);
    }
    let cookie = match admission {
        Admission::Pass {
            index: 0,
            expires_in,
        } => {
            let secure = if config.public_scheme == "https" {
                "; Secure"
            } else {
                ""
            };
            Some(format!(
                "{}={pass}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
                cookie_name(config),
                expires_in.as_secs()
            ))
        }
        Admission::Pass { .. } | Admission::Public => None,
    };
    Ok(Some(redirect(host, &bare, cookie, config)))
}

/// Absolute, for a path that begins with two slashes would lead to another host.
fn redirect(
    host: &HeaderValue,
    bare: &Uri,
    cookie: Option<String>,
    config: &EdgeConfig,
) -> Response<FromEdge> {
    let path = bare.path_and_query().map_or("/", PathAndQuery::as_str);
    let host = host.to_str().unwrap_or_default();
    let target = format!("{}://{host}{path}", config.public_scheme);
    let mut answer = Response::new(FromEdge::Page(Full::default()));
    *answer.status_mut() = StatusCode::FOUND;
    let head = answer.headers_mut();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    head.insert(headers::EDGE, HeaderValue::from_static("preview_pass"));
    if let Ok(target) = HeaderValue::try_from(target) {
        head.insert(LOCATION, target);
    }
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        head.insert(SET_COOKIE, cookie);
    }
    answer
}

/// The pass in a link, and the link without it.
fn take_from(uri: &Uri) -> Option<(String, Uri)> {
    let query = uri.query()?;
    let pass_of = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == PASS_PARAMETER).then(|| value.to_owned())
    };
    let pass = query.split('&').find_map(pass_of)?;
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| pass_of(pair).is_none())
        .collect();
    let path = if rest.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), rest.join("&"))
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Some((pass, Uri::from_parts(parts).ok()?))
}

fn cookie_name(config: &EdgeConfig) -> String {
    format!("{}preview", config.cookie_prefix)
}

fn cookies<'a>(head: &'a HeaderMap, config: &'a EdgeConfig) -> impl Iterator<Item = &'a str> {
    head.get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            let rest = name.strip_prefix(config.cookie_prefix.as_str())?;
            (rest == "preview").then_some(value)
        })
        .take(COOKIES)
}

/// Whether a request comes from the visitor or from a page of this sandbox, and not from a page of another one.
fn is_own<B>(request: &Request<B>, origin: &Origin, config: &EdgeConfig) -> bool {
    let head = request.headers();
    let word = |name: &HeaderName| head.get(name).and_then(|value| value.to_str().ok());
    let fetch = |name: &'static str| word(&HeaderName::from_static(name));
    let site = fetch("sec-fetch-site");
    if matches!(site, Some("same-origin" | "none")) {
        return true;
    }
    // Somebody followed a link.
    let is_visit = fetch("sec-fetch-mode") == Some("navigate")
        && fetch("sec-fetch-dest") == Some("document")
        && matches!(*request.method(), Method::GET | Method::HEAD);
    if is_visit {
        return true;
    }
    let page = word(&ORIGIN)
        .filter(|origin| *origin != "null")
        .or_else(|| word(&REFERER))
        .and_then(|page| page.parse::<Uri>().ok());
    let Some(host) = page.as_ref().and_then(Uri::host) else {
        // Who asked without saying is a program, or a page that hides.
        return site.is_none() && word(&ORIGIN).is_none();
    };
    match route(host, config) {
        Route::Preview { sandbox, .. } => sandbox == origin.sandbox,
        Route::App => true,
        Route::BadHost { .. } => false,
    }
}

#[cfg(test)]
mod tests;
