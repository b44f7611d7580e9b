//! Which store: what the operator wrote, checked, and the client of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;

/// One request to a store takes at most this long, however often it is tried.
const REQUEST: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(90);
const TRIES: usize = 5;

/// What `[archive]` of the configuration says. Secrets are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    pub url: String,
    /// Another server than the provider's own that speaks its protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket, for `s3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who asks, for `s3`. Without it, the machine's own role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<String>,
    /// The token of a temporary key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// File of a service account's key, for `gs`. Without it, the machine's own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The storage account, for `az`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its key. Without it, the machine's own identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_key: Option<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the settings: field, value and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocationError(pub String);

impl Settings {
    /// Fills what is not said from the variables that the providers' own tools read.
    #[must_use]
    pub fn or_environment(mut self, env: impl Fn(&str) -> Option<String>) -> Self {
        let or = |field: &mut Option<String>, name: &str| {
            if field.is_none() {
                *field = env(name).filter(|value| !value.trim().is_empty());
            }
        };
        match self.url.split(':').next() {
            Some("s3") => {
                or(&mut self.endpoint, "AWS_ENDPOINT_URL_S3");
                or(&mut self.endpoint, "AWS_ENDPOINT_URL");
                or(&mut self.region, "AWS_REGION");
                or(&mut self.region, "AWS_DEFAULT_REGION");
                // A key and its secret belong together: half of one and half of another is none.
                if self.access_key_id.is_none() && self.secret_access_key.is_none() {
                    or(&mut self.access_key_id, "AWS_ACCESS_KEY_ID");
                    or(&mut self.secret_access_key, "AWS_SECRET_ACCESS_KEY");
                    or(&mut self.session_token, "AWS_SESSION_TOKEN");
                }
            }
            Some("gs") => or(&mut self.service_account, "GOOGLE_APPLICATION_CREDENTIALS"),
            Some("az") => {
                or(&mut self.account, "AZURE_STORAGE_ACCOUNT_NAME");
                or(&mut self.account_key, "AZURE_STORAGE_ACCOUNT_KEY");
            }
            _ => {}
        }
        self
    }
}

/// A store that can be asked.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    /// How it is called in messages: never with a secret.
    pub(crate) name: String,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
}

/// What the settings lead to.
enum Place {
    Directory(PathBuf),
    Bucket(Arc<dyn ObjectStore>, Path),
}

impl Location {
    /// Makes the client. Asks nobody; a directory is made.
    pub(crate) fn open(settings: &Settings) -> Result<Self, LocationError> {
        let name = settings.url.clone();
        let path = match settings.place()? {
            Place::Bucket(store, prefix) => {
                return Ok(Self {
                    name,
                    store,
                    prefix,
                });
            }
            Place::Directory(path) => path,
        };
        let failed = |reason: String| LocationError(format!("archive.url {name:?}: {reason}"));
        // What is stored is encrypted, but what others cannot write they cannot break.
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700)
            .create(&path)
            .map_err(|error| failed(format!("{error}; give a directory that can be written")))?;
        let store = LocalFileSystem::new_with_prefix(&path)
            .map_err(|error| failed(error.to_string()))?
            // What is acknowledged survives a loss of power.
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::default(),
            name,
        })
    }
}

impl Settings {
    /// The URL of a directory.
    #[must_use]
    pub fn directory(path: &std::path::Path) -> String {
        let absolute = std::path::absolute(path).ok();
        absolute
            .and_then(|path| Url::from_directory_path(path).ok())
            .map_or_else(String::new, String::from)
    }

    /// The directory, where the store is one.
    #[must_use]
    pub fn local(&self) -> Option<PathBuf> {
        Url::parse(&self.url).ok()?.to_file_path().ok()
    }

    /// Checks all fields without asking or making anything.
    ///
    /// # Errors
    /// [`LocationError`] names the field, its value and the remedy.
    pub fn check(&self) -> Result<(), LocationError> {
        self.place().map(drop)
    }

    fn place(&self) -> Result<Place, LocationError> {
        let wrong = |reason: &str| {
            LocationError(format!(
                "archive.url {:?}: {reason}; give one such as file:///var/backups/glasshouse, s3://bucket/prefix, \
                 gs://bucket/prefix or az://container/prefix",
                self.url
            ))
        };
        let url = Url::parse(&self.url).map_err(|error| wrong(&format!("not a URL ({error})")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError(
                "archive.url: holds a user or password; give them by their own fields".to_owned(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a part after ? or #"));
        }
        self.check_fields(url.scheme())?;
        if url.scheme() == "file" {
            return match url.to_file_path() {
                Ok(path) => Ok(Place::Directory(path)),
                Err(()) => Err(wrong("not an absolute path of this machine")),
            };
        }
        let bucket = url.host_str().unwrap_or_default();
        if bucket.is_empty() {
            return Err(wrong("names no bucket"));
        }
        let prefix = Path::from_url_path(url.path()).map_err(|error| wrong(&error.to_string()))?;
        let store = match url.scheme() {
            "s3" => self.s3(bucket)?,
            "gs" => self.gs(bucket)?,
            "az" => self.az(bucket)?,
            other => return Err(wrong(&format!("{other} is no kind of store"))),
        };
        Ok(Place::Bucket(store, prefix))
    }

    /// A field that means nothing for this kind of store is a mistake that is found now and not in an emergency.
    fn check_fields(&self, scheme: &str) -> Result<(), LocationError> {
        let fields = [
            ("endpoint", &self.endpoint, &["s3", "gs", "az"][..]),
            ("region", &self.region, &["s3"]),
            ("access_key_id", &self.access_key_id, &["s3"]),
            ("secret_access_key", &self.secret_access_key, &["s3"]),
            ("session_token", &self.session_token, &["s3"]),
            ("service_account", &self.service_account, &["gs"]),
            ("account", &self.account, &["az"]),
            ("account_key", &self.account_key, &["az"]),
        ];
        for (name, value, schemes) in fields {
            if value.is_some() && !schemes.contains(&scheme) {
                return Err(LocationError(format!(
                    "archive.{name}: means nothing for {scheme}://; remove it, or give a URL that begins with {}://",
                    schemes.join(":// or ")
                )));
            }
        }
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(LocationError(
                "archive.access_key_id and archive.secret_access_key: give both, or none for the machine's own role"
                    .to_owned(),
            ));
        }
        if let Some(endpoint) = &self.endpoint
            && !Url::parse(endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            return Err(LocationError(format!(
                "archive.endpoint {endpoint:?}: not a URL; it begins with https:// or http://"
            )));
        }
        Ok(())
    }

    fn is_plain_http(&self) -> bool {
        self.endpoint
            .as_deref()
            .is_some_and(|url| url.starts_with("http:"))
    }

    fn client(&self) -> ClientOptions {
        // The one cryptography of this program. A second call would find it set, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        ClientOptions::new()
            .with_allow_http(self.is_plain_http())
            .with_connect_timeout(Duration::from_secs(10))
            .with_timeout(REQUEST)
    }

    fn s3(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_client_options(self.client())
            .with_retry(retry());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(secret)) = (&self.access_key_id, &self.secret_access_key) {
            builder = builder
                .with_access_key_id(id)
                .with_secret_access_key(secret);
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        built(builder.build())
    }

    fn gs(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_client_options(self.client())
            .with_retry(retry());
        if let Some(path) = &self.service_account {
            builder = builder.with_service_account_path(path);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        built(builder.build())
    }

    fn az(&self, container: &str) -> Result<Arc<dyn ObjectStore>, LocationError> {
        let Some(account) = &self.account else {
            return Err(LocationError(
                "archive.account: is missing; give the name of the storage account".to_owned(),
            ));
        };
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(container)
            .with_client_options(self.client())
            .with_retry(retry());
        if let Some(key) = &self.account_key {
            builder = builder.with_access_key(key);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        built(builder.build())
    }
}

fn built<S: ObjectStore>(
    result: object_store::Result<S>,
) -> Result<Arc<dyn ObjectStore>, LocationError> {
    match result {
        Ok(store) => Ok(Arc::new(store)),
        // The builder's words name what it lacks, and never a secret's value: secrets are checked by length or form only.
        Err(error) => Err(LocationError(format!("archive: {error}"))),
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: TRIES,
        retry_timeout: RETRY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: &Settings) -> String {
        settings.check().unwrap_err().0
    }

    fn url(url: &str) -> Settings {
        Settings {
            url: url.to_owned(),
            ..Settings::default()
        }
    }

    #[test]
    fn a_wrong_url_is_named_with_a_remedy() {
        for text in [
            "",
            "bucket",
            "ftp://x/y",
            "s3:///prefix",
            "s3://bucket/x?y=1",
        ] {
            let error = refused(&url(text));
            assert!(error.contains(&format!("archive.url {text:?}")), "{error}");
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
        assert!(refused(&url("file://host/x")).contains("absolute path"));
        let error = Location::open(&url("file:///dev/null/x")).unwrap_err().0;
        assert!(error.contains("can be written"), "{error}");
    }

    #[test]
    fn secrets_are_neither_in_the_url_nor_shown() {
        let error = refused(&url("s3://me:hidden@bucket/x"));
        assert!(!error.contains("hidden"), "{error}");
        let mut settings = url("s3://bucket");
        settings.secret_access_key = Some("hidden".to_owned());
        assert!(!format!("{settings:?}").contains("hidden"));
        assert!(refused(&settings).contains("give both"));
    }

    #[test]
    fn fields_of_another_kind_of_store_are_refused() {
        let mut settings = url("gs://bucket");
        settings.region = Some("eu".to_owned());
        assert_eq!(
            refused(&settings),
            "archive.region: means nothing for gs://; remove it, or give a URL that begins with s3://"
        );
        assert!(refused(&url("az://container")).contains("archive.account"));
        let mut settings = url("s3://bucket");
        settings.endpoint = Some("localhost:9000".to_owned());
        assert!(refused(&settings).contains("archive.endpoint \"localhost:9000\""));
    }

    #[test]
    fn a_key_of_the_file_is_not_mixed_with_one_of_the_environment() {
        let mut settings = url("s3://bucket");
        settings.access_key_id = Some("file".to_owned());
        let filled = settings.or_environment(|name| Some(name.to_owned()));
        assert_eq!(filled.secret_access_key, None);
        assert_eq!(filled.region.as_deref(), Some("AWS_REGION"));
        let filled = url("s3://bucket").or_environment(|name| Some(name.to_owned()));
        assert_eq!(
            filled.secret_access_key.as_deref(),
            Some("AWS_SECRET_ACCESS_KEY")
        );
    }
}
