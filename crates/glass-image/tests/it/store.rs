//! Names, removal, and what an interruption leaves.

use std::sync::Arc;

use glass_image::{ImageError, ImageStore, Silent};

use crate::support::{Place, tar};

async fn import(place: &Place, name: &str, content: &str) -> glass_image::Image {
    let path = place.write("import.tar", &tar(&[("file", content.as_bytes())]));
    place
        .store
        .import(&path, name, Arc::new(Silent))
        .await
        .unwrap()
}

fn unused(_: &glass_image::Image) -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn an_unknown_name_lists_the_known_ones() {
    let place = Place::new();
    let error = place.store.get("base").unwrap_err().to_string();
    assert!(
        error.contains("`base`") && error.contains("image build"),
        "{error}"
    );
    import(&place, "one", "1").await;
    import(&place, "two:v2", "2").await;
    let error = place.store.get("base").unwrap_err().to_string();
    assert!(error.contains("one, two:v2"), "{error}");
    assert!(matches!(
        place.store.get("../x"),
        Err(ImageError::InvalidName { .. })
    ));
}

#[tokio::test]
async fn a_name_given_anew_leaves_the_former_image_until_it_is_pruned() {
    let place = Place::new();
    let old = import(&place, "app", "old").await;
    let new = import(&place, "app", "new").await;
    assert_ne!(old.digest, new.digest);
    assert_eq!(place.store.get("app").unwrap().digest, new.digest);
    let former = place.store.get(&format!("app@{}", old.digest)).unwrap();
    assert_eq!(former.layers, old.layers);

    let kept = place
        .store
        .prune(&|image| vec![image.name.clone()])
        .unwrap();
    assert_eq!(kept.images, 0);
    let removed = place.store.prune(&unused).unwrap();
    assert_eq!((removed.images, removed.layers), (1, 1));
    assert!(!old.layers[0].exists() && new.layers[0].exists());
}

#[tokio::test]
async fn removing_frees_what_no_other_image_needs() {
    let place = Place::new();
    let image = import(&place, "one", "same").await;
    import(&place, "two", "same").await;
    place.store.remove("one", &unused).unwrap();
    assert!(image.layers[0].exists());
    let removed = place.store.remove("two", &unused).unwrap();
    assert_eq!(removed.layers, 1);
    assert!(removed.bytes > 0);
    assert!(!image.layers[0].exists());
    for dir in ["layers", "blobs/sha256", "tmp"] {
        let left: Vec<_> = std::fs::read_dir(place.path("store").join(dir))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(matches!(
        place.store.remove("two", &unused),
        Err(ImageError::Unknown { .. })
    ));
}

#[tokio::test]
async fn an_image_in_use_is_not_removed() {
    let place = Place::new();
    import(&place, "app", "x").await;
    let error = place
        .store
        .remove("app", &|_| vec!["sandbox quiet-fox".to_owned()])
        .unwrap_err();
    assert!(error.to_string().contains("sandbox quiet-fox"), "{error}");
    assert!(place.store.get("app").is_ok());
}

#[tokio::test]
async fn opening_removes_what_an_interrupted_run_left() {
    let place = Place::new();
    let image = import(&place, "app", "x").await;
    let half = place.path("store/tmp/work-dead/tree/dir");
    std::fs::create_dir_all(&half).unwrap();
    let orphan = place
        .path("store/layers")
        .join(format!("sha256-{}", "0".repeat(64)));
    std::fs::create_dir(&orphan).unwrap();
    let index = place.write("store/.new-index", b"{");
    let store = ImageStore::open(place.path("store")).unwrap();
    assert!(!half.exists() && !orphan.exists() && !index.exists());
    assert_eq!(store.get("app").unwrap().layers, image.layers);
    assert!(image.layers[0].join("file").exists());
}

#[tokio::test]
async fn many_at_once_lose_no_name() {
    let place = Arc::new(Place::new());
    let mut imports = Vec::new();
    for n in 0..8 {
        let path = place.write(
            &format!("{n}.tar"),
            &tar(&[("file", format!("{n}").as_bytes())]),
        );
        // A store of its own, as another process would have.
        let store = ImageStore::open(place.path("store")).unwrap();
        imports.push(tokio::spawn(async move {
            store
                .import(&path, &format!("image:{n}"), Arc::new(Silent))
                .await
                .unwrap()
        }));
    }
    for import in imports {
        let image = import.await.unwrap();
        assert!(image.layers[0].join("file").exists());
    }
    assert_eq!(place.store.list().unwrap().len(), 8);
}

#[tokio::test]
async fn a_damaged_image_says_so() {
    let place = Place::new();
    let image = import(&place, "app", "x").await;
    let manifest = place.path("store/blobs/sha256").join(image.digest.hex());
    std::fs::write(&manifest, "{}").unwrap();
    let error = place.store.get("app").unwrap_err();
    assert!(matches!(error, ImageError::Corrupt { .. }), "{error}");
    assert!(place.store.list().unwrap().is_empty());
}
