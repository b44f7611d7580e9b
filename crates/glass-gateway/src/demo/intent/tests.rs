use super::*;

fn colour(css: &str) -> Colour {
    Colour::parse(css).unwrap()
}

fn builds(prompt: &str, app: App, title: &str) {
    match Intent::of(prompt, false) {
        Intent::Build(order) => {
            assert_eq!((order.app, order.title.as_str()), (app, title), "{prompt}");
        }
        other => panic!("{prompt}: {other:?}"),
    }
}

fn changes_to(prompt: &str, changes: &[Change]) {
    assert_eq!(
        Intent::of(prompt, true),
        Intent::Change(changes.to_vec()),
        "{prompt}"
    );
}

#[test]
fn apps_are_known_by_their_names() {
    builds("create a todo app", App::Todo, "Todo list");
    builds("Please build me a to-do list", App::Todo, "Todo list");
    builds("todo app", App::Todo, "Todo list");
    builds(
        "make a todo app called Groceries with a blue title",
        App::Todo,
        "Groceries",
    );
    builds("\"build a counter\"", App::Counter, "Counter");
    builds("make a counter", App::Counter, "Counter");
    builds("I need a notes app", App::Notes, "Notes");
    builds(
        "create a landing page for a coffee shop",
        App::Landing,
        "Coffee shop",
    );
    builds(
        "create a space invaders game",
        App::Page,
        "Space invaders game",
    );
    builds("create", App::Page, "Create");
    builds("créate à é", App::Page, "Créate à é");
}

#[test]
fn an_order_may_hold_changes() {
    let Intent::Build(order) = Intent::of("create a dark mode todo app with a red title", false)
    else {
        panic!("not an order");
    };
    assert_eq!(
        order.changes,
        [Change::Dark, Change::Colour(Target::Title, colour("red"))]
    );
    let Intent::Build(order) = Intent::of("create a counter with a clear button", false) else {
        panic!("not an order");
    };
    assert_eq!(order.changes, [Change::Clear]);
}

#[test]
fn changes_are_known_in_many_words() {
    let blue = Change::Colour(Target::Title, colour("blue"));
    changes_to("make the title blue", std::slice::from_ref(&blue));
    changes_to(
        "change the title colour to blue",
        std::slice::from_ref(&blue),
    );
    changes_to("change the title to blue", std::slice::from_ref(&blue));
    changes_to("Please make the heading blue.", std::slice::from_ref(&blue));
    changes_to(
        "make the title blue and the background #ff8800",
        &[blue, Change::Colour(Target::Background, colour("#ff8800"))],
    );
    changes_to(
        "make the buttons light green",
        &[Change::Colour(Target::Buttons, colour("lightgreen"))],
    );
    changes_to(
        "change the title to \"Red Sea\"",
        &[Change::Rename("Red Sea".into())],
    );
    changes_to(
        "rename it to Salt and Pepper",
        &[Change::Rename("Salt and Pepper".into())],
    );
    changes_to("add a clear button", &[Change::Clear]);
    changes_to("add a reset button", &[Change::Clear]);
    changes_to("make it dark", &[Change::Dark]);
    changes_to("make the font bigger", &[Change::Bigger]);
    changes_to("make the text smaller", &[Change::Smaller]);
}

#[test]
fn probes_are_exact() {
    let check = |prompt: &str, probe| assert_eq!(Intent::of(prompt, false), Intent::Probe(probe));
    check("sleep 30", Probe::Sleep(30));
    check("Error 429", Probe::Error(429));
    check("error401", Probe::Error(401));
    check("slow", Probe::Slow);
    check("cut", Probe::Cut);
    check("think", Probe::Think);
    check("run `echo a`", Probe::Run("echo a".into()));
    check("sleep 99999999", Probe::Sleep(3600));
}

#[test]
fn what_it_cannot_do_it_says() {
    assert_eq!(Intent::of("add a login with OAuth", true), Intent::Unknown);
    assert_eq!(Intent::of("add a login with OAuth", false), Intent::Unknown);
    assert_eq!(Intent::of("hello", false), Intent::Talk);
    assert_eq!(Intent::of("", false), Intent::Talk);
}

#[test]
fn odd_prompts_do_no_harm() {
    for prompt in [
        "\"",
        "\"\"",
        "rename",
        "to",
        "run `",
        "run ``",
        "sleep",
        "sleep -1",
        "error",
        "#",
        "é",
        "make the title",
        "call it ",
        "i'd like a",
        "made é called é",
        "İ called İ to İ",
        "rename İİ to x",
    ] {
        Intent::of(prompt, false);
        Intent::of(prompt, true);
    }
    Intent::of(&"é and to , ".repeat(200_000), true);
}
