//! `filesystem.Filesystem`, and what `POST /files` answers.

use serde::{Deserialize, Serialize};

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileType {
    /// A device, a socket, a pipe.
    #[serde(rename = "FILE_TYPE_UNSPECIFIED")]
    Unspecified,
    /// A regular file.
    #[serde(rename = "FILE_TYPE_FILE")]
    File,
    /// A directory.
    #[serde(rename = "FILE_TYPE_DIRECTORY")]
    Directory,
    /// A symbolic link that leads nowhere, or nowhere one may go.
    #[serde(rename = "FILE_TYPE_SYMLINK")]
    Symlink,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Last component of the path. Bytes that are not UTF-8 are replaced.
    pub name: String,
    /// What it is; of a symbolic link, what it leads to.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// Absolute.
    pub path: String,
    /// Bytes.
    #[serde(with = "crate::bytes64::int64", default)]
    pub size: u64,
    /// Permission bits.
    #[serde(default)]
    pub mode: u32,
    /// As `ls -l` writes them.
    #[serde(default)]
    pub permissions: String,
    /// Name of the owner, or the number when it has none.
    #[serde(default)]
    pub owner: String,
    /// Name of the group, or the number when it has none.
    #[serde(default)]
    pub group: String,
    /// RFC 3339.
    #[serde(default)]
    pub modified_time: String,
    /// Where a symbolic link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink_target: Option<String>,
}

/// `Stat`, `MakeDir` and `Remove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRequest {
    /// Absolute, or relative to the workspace.
    pub path: String,
}

/// `ListDir`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDirRequest {
    /// Absolute, or relative to the workspace.
    pub path: String,
    /// How many levels; 0 and absent mean 1.
    #[serde(default)]
    pub depth: u32,
}

/// `Move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    /// What.
    pub source: String,
    /// Its new path.
    pub destination: String,
}

/// Answer of `Stat`, `MakeDir` and `Move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryResponse {
    /// The entry.
    pub entry: Entry,
}

/// Answer of `ListDir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDirResponse {
    /// Sorted by path.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// One element of what `POST /files` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Absolute.
    pub path: String,
    /// Last component.
    pub name: String,
    /// `file`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What `PUT /archive` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes in its files.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_text_on_the_wire() {
        let entry = Entry {
            name: "a".into(),
            kind: FileType::File,
            path: "/a".into(),
            size: 5,
            mode: 0o644,
            permissions: "-rw-r--r--".into(),
            owner: "dev".into(),
            group: "dev".into(),
            modified_time: "1970-01-01T00:00:00Z".into(),
            symlink_target: None,
        };
        let text = serde_json::to_string(&entry).unwrap();
        assert!(text.contains(r#""size":"5""#), "{text}");
        assert!(text.contains(r#""type":"FILE_TYPE_FILE""#), "{text}");
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }
}
