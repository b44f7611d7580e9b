use super::*;

const RECIPE: &str = r#"
name = "small"
layers = [
  { name = "system", suite = "bookworm", packages = ["bash"] },
  { name = "one", script = "one.sh" },
  { name = "two", script = "two.sh" },
]
[config]
env = ["A=1"]
ports = [80]
"#;

fn recipe(change: impl Fn(&Path)) -> Result<Recipe, BuildError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("recipe.toml"), RECIPE).unwrap();
    fs::write(dir.path().join("one.sh"), "true").unwrap();
    fs::write(dir.path().join("two.sh"), "true").unwrap();
    change(dir.path());
    Recipe::read(dir.path())
}

fn keys(change: impl Fn(&Path)) -> Vec<Digest> {
    recipe(change)
        .unwrap()
        .layers
        .into_iter()
        .map(|l| l.key)
        .collect()
}

#[test]
fn a_script_changes_its_layer_and_those_above() {
    let before = keys(|_| {});
    assert_eq!(keys(|_| {}), before);
    let one = keys(|dir| fs::write(dir.join("one.sh"), "false").unwrap());
    assert_eq!(one[0], before[0]);
    assert!(one[1] != before[1] && one[2] != before[2]);
    let two = keys(|dir| fs::write(dir.join("two.sh"), "false").unwrap());
    assert_eq!(two[..2], before[..2]);
    assert_ne!(two[2], before[2]);
}

#[test]
fn a_file_that_scripts_may_read_changes_their_layers() {
    let before = keys(|_| {});
    let with = keys(|dir| {
        fs::create_dir(dir.join("files")).unwrap();
        fs::write(dir.join("files/motd"), "hello").unwrap();
    });
    assert_eq!(with[0], before[0]);
    assert!(with[1] != before[1] && with[2] != before[2]);
    assert_eq!(
        keys(|dir| fs::write(dir.join("Containerfile"), "FROM x").unwrap()),
        before
    );
}

#[test]
fn the_config_changes_the_image_but_no_layer() {
    let before = recipe(|_| {}).unwrap();
    let after =
        recipe(|dir| fs::write(dir.join("recipe.toml"), RECIPE.replace("A=1", "A=2")).unwrap())
            .unwrap();
    assert_eq!(before.layers[2].key, after.layers[2].key);
    assert_ne!(before.key(), after.key());
}

#[test]
fn a_wrong_recipe_names_the_field() {
    for (from, to, named) in [
        ("name = \"small\"", "name = \"../x\"", "../x"),
        ("suite = ", "sweet = ", "sweet"),
        ("\"bash\"", "\"--option\"", "--option"),
        ("one.sh", "none.sh", "none.sh"),
        ("one.sh", "../one.sh", "../one.sh"),
        ("A=1", "A", "config.env"),
        ("script = \"one.sh\"", "suite = \"sid\"", "first layer"),
        ("[80]", "[99999]", "99999"),
    ] {
        let error =
            recipe(|dir| fs::write(dir.join("recipe.toml"), RECIPE.replace(from, to)).unwrap())
                .unwrap_err();
        assert!(error.to_string().contains(named), "{named}: {error}");
    }
}

#[test]
fn a_directory_that_is_no_recipe_says_so() {
    let missing = recipe(|dir| fs::remove_file(dir.join("recipe.toml")).unwrap()).unwrap_err();
    assert!(missing.to_string().contains("no recipe.toml"), "{missing}");
    let link = recipe(|dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap())
        .unwrap_err();
    assert!(link.to_string().contains("plain files"), "{link}");
}

#[test]
fn the_containerfile_of_the_base_image_says_the_same_as_its_recipe() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/base");
    let recipe = Recipe::read(&dir).unwrap();
    let containerfile = fs::read_to_string(dir.join("Containerfile")).unwrap();
    let words: BTreeSet<_> = containerfile.split_whitespace().collect();
    for layer in &recipe.layers {
        match &layer.step {
            Step::Debian { suite, packages } => {
                assert!(words.contains(format!("debian:{suite}-slim").as_str()));
                for package in packages {
                    assert!(words.contains(package.as_str()), "{package}");
                }
            }
            Step::Script(script) => assert!(words.contains(script.as_str()), "{script}"),
        }
    }
    for pair in recipe.config.env.unwrap() {
        assert!(words.contains(pair.as_str()), "{pair}");
    }
}
