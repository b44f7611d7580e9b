use std::fs;

use tempfile::TempDir;

use super::*;

/// A directory with a recipe in `x`, and what else it is to hold.
fn recipe(toml: &str, files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let toml = format!("name = 'x'\ntitle = 'X'\ndescription = 'x'\n{toml}");
    for (path, text) in [("x/template.toml", &*toml)].iter().chain(files) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn read(dir: &TempDir) -> Result<Recipe, Failure> {
    Recipe::named(&dir.path().join("x").display().to_string())
}

#[test]
fn every_template_that_comes_along_can_be_read() {
    assert_eq!(ours().len(), 10);
    for name in ours() {
        let recipe = Recipe::ours(name).unwrap();
        assert_eq!(recipe.file.name, name);
        assert!(!recipe.file.title.is_empty() && !recipe.file.description.is_empty());
        // Also out of its directory, and then it is the same.
        let directory = format!("{}/../../templates/{name}", env!("CARGO_MANIFEST_DIR"));
        let same = Recipe::named(&directory).unwrap();
        assert_eq!(same.files, recipe.files, "{name}");
        assert_eq!(same.digest_on(None), recipe.digest_on(None));
    }
}

#[test]
fn a_change_changes_the_digest() {
    let before = read(&recipe("", &[])).unwrap().digest;
    assert_eq!(before, read(&recipe("", &[])).unwrap().digest);
    let more = recipe("", &[("x/files/a", "")]);
    assert_ne!(before, read(&more).unwrap().digest);
    let other = recipe("prepare = ['true']", &[]);
    assert_ne!(before, read(&other).unwrap().digest);
}

#[test]
fn another_image_makes_another_template() {
    let recipe = read(&recipe("", &[])).unwrap();
    let on = |image| recipe.digest_on(Some(image));
    assert_eq!(on("sha256:1"), on("sha256:1"));
    assert_ne!(on("sha256:1"), on("sha256:2"));
}

#[test]
fn a_shared_file_is_taken_from_beside_the_recipe_and_from_nowhere_else() {
    let toml = "[shared]\n'public/a.css' = 'style.css'";
    let dir = recipe(toml, &[("shared/style.css", "p {}")]);
    let found = read(&dir).unwrap();
    assert_eq!(found.files.text("public/a.css"), Some("p {}"));

    fs::remove_file(dir.path().join("shared/style.css")).unwrap();
    let failure = read(&dir).unwrap_err();
    assert!(
        failure.message().contains("shared/style.css"),
        "{failure:?}"
    );

    let outside = recipe("[shared]\n'a' = '../secret'", &[("secret", "")]);
    let failure = read(&outside).unwrap_err();
    assert!(failure.message().contains("../secret"), "{failure:?}");
}

#[test]
fn what_is_no_template_is_named() {
    let failure = Recipe::named("no-such").unwrap_err();
    assert!(failure.message().contains("no-such"), "{failure:?}");
}

#[test]
fn an_unknown_key_is_named() {
    let failure = read(&recipe("prepair = []", &[])).unwrap_err();
    assert!(failure.message().contains("prepair"), "{failure:?}");
}
