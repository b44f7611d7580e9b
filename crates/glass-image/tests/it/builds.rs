//! Building. The layers of a Debian system are left to the end-to-end suite: they take a minute.

use std::sync::Arc;

use glass_image::{BuildError, BuildOptions, ImageError, Silent};

use crate::support::Place;

#[tokio::test]
async fn a_directory_that_is_no_recipe_is_an_error() {
    let place = Place::new();
    for dir in [place.path("missing"), place.dir.path().to_owned()] {
        let result = place
            .store
            .build(&dir, BuildOptions::default(), Arc::new(Silent))
            .await;
        assert!(
            matches!(
                result,
                Err(ImageError::Build(
                    BuildError::Read { .. } | BuildError::NoRecipe { .. }
                ))
            ),
            "{result:?}"
        );
    }
}

#[tokio::test]
async fn a_package_that_does_not_exist_fails_with_the_output_and_leaves_nothing() {
    let place = Place::new();
    place.write(
        "recipe/recipe.toml",
        br#"
name = "bad"
layers = [{ name = "system", suite = "no-such-suite", packages = ["no-such-package"] }]
"#,
    );
    let options = BuildOptions::from_environment(std::env::vars());
    let error = place
        .store
        .build(&place.path("recipe"), options, Arc::new(Silent))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("layer system") && text.contains("no-such-suite"),
        "{text}"
    );
    assert!(place.leftovers().is_empty());
}
