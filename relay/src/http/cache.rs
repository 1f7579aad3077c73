//! Browser caching of the page and conditional requests (RFC 9111, RFC 9110 section 13).
//!
//! A file with the hash of its content in its name never changes, so browsers may keep it for ever.
//! Browsers request every other complete answer again each time. It carries an ETag of its encoded
//! bytes, and the answer to a matching ETag is "not modified".

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{
        HeaderValue, Method, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
            VARY,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha1::{Digest, Sha1};

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// Larger answers get no ETag, because the ETag needs the whole answer in memory.
const ETAG_LEN_MAX: usize = 1 << 20;
/// Hexadecimal digits of the hash in a file's name.
const HASH_DIGITS: usize = 16;

/// Adds caching headers to a file of the page.
pub async fn cache_file(request: Request, next: Next) -> Response {
    let hashed = is_hashed(request.uri().path());
    if !hashed {
        return with_etag(request, next).await;
    }
    let mut response = next.run(request).await;
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
        vary(&mut response);
    }
    response
}

/// Adds an ETag to an answer that is generated each time. Omits the body if the client has it
/// already.
pub async fn with_etag(mut request: Request, next: Next) -> Response {
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    if known.is_some() {
        // The weaker condition is ignored beside the stronger one.
        request.headers_mut().remove(IF_MODIFIED_SINCE);
    }
    let is_get = request.method() == Method::GET;
    let mut response = next.run(request).await;
    response.headers_mut().entry(CACHE_CONTROL).or_insert(REVALIDATE);
    vary(&mut response);
    let may_be_kept = response.headers().get(CACHE_CONTROL).is_none_or(|value| value != "no-store");
    let len = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    let fits = len.is_none_or(|len| len <= ETAG_LEN_MAX);
    if !(is_get && may_be_kept && fits && response.status() == StatusCode::OK) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, ETAG_LEN_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "an answer could not be read");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let tag = etag(&bytes);
    let is_known =
        known.is_some_and(|known| known.to_str().is_ok_and(|known| has_etag(known, &tag)));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(ETAG, value);
    }
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Marks the answer as dependent on the encodings that the browser accepts.
fn vary(response: &mut Response) {
    response.headers_mut().entry(VARY).or_insert(HeaderValue::from_static("accept-encoding"));
}

fn etag(bytes: &[u8]) -> String {
    let digest = Sha1::digest(bytes);
    let mut digits = hex::encode(digest);
    digits.truncate(HASH_DIGITS);
    format!("\"{digits}\"")
}

/// Whether a list of entity tags contains this one; `W/` is ignored in the comparison.
fn has_etag(list: &str, tag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == tag)
}

/// Whether a path ends in `-`, 16 hexadecimal digits and an extension, as the page's build names
/// its files.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.split_once('.').map_or("", |(stem, _)| stem);
    let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == HASH_DIGITS
        && hash.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_a_hash_in_their_name_are_immutable() {
        for path in [
            "/assets/main-0123456789abcdef.js",
            "/a-b-fedcba9876543210.wasm",
            "/x-0123456789abcdef.js.map",
        ] {
            assert!(is_hashed(path), "{path}");
        }
        for path in [
            "/",
            "/index.html",
            "/assets/main.js",
            "/assets/my-activity.js",
            "/assets/main-0123456789ABCDEF.js",
            "/assets/main-0123456789abcde.js",
            "/main-0123456789abcdef/index.html",
            "/main-0123456789abcdef",
        ] {
            assert!(!is_hashed(path), "{path}");
        }
    }

    #[test]
    fn entity_tags_are_found_in_lists() {
        let tag = etag(b"page");
        assert_ne!(tag, etag(b"other page"));
        for list in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
            assert!(has_etag(&list, &tag), "{list}");
        }
        for list in ["", "\"other\"", tag.trim_matches('"')] {
            assert!(!has_etag(list, &tag), "{list}");
        }
    }
}
