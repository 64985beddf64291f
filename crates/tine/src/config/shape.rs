//! Where in a file the apps are: a list, one app, or `apps` beside `static`, `deploy` and `defaults`.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    app::{App, Context},
    error::hint,
    keys, statics,
    suggest::nearest,
    tree::{Data, Entry, Tree},
};

/// What else may stand beside the apps.
const BESIDE: [&str; 8] =
    ["apps", "app", "pm2", "static", "deploy", "defaults", "$schema", "schema"];

/// Where a file's apps are.
#[derive(Default)]
struct Shape<'t> {
    /// With the name that stands before it, if it is one of a table.
    apps: Vec<(Option<&'t str>, &'t Tree)>,
    statics: Vec<(Option<&'t str>, &'t Tree)>,
    defaults: Option<&'t Tree>,
}

/// Variables of a deployment: `deploy.NAME.env`.
pub(super) fn deploy_env<'t>(tree: &'t Tree, name: Option<&str>) -> Option<&'t Tree> {
    tree.get("deploy")?.get(name?)?.get("env")
}

/// Reads everything; what is wrong is kept in the context.
pub(super) fn read(context: &mut Context<'_>, tree: &Tree) -> Vec<App> {
    let shape = shape(context, tree);
    let mut apps = Vec::new();
    for (named, tree) in shape.apps {
        if is_app(context, named, tree) {
            apps.extend(context.app(&over(shape.defaults, tree), named));
        }
    }
    for (named, tree) in shape.statics {
        if !is_app(context, named, tree) {
            continue;
        }
        match statics::app(tree, named, context.base) {
            Ok(tree) => apps.extend(context.app(&tree, named)),
            Err(fault) => context.fail(fault.line, named, fault.text),
        }
    }
    for app in &mut apps {
        statics::resolve(&mut app.patch);
    }
    distinct(context, &mut apps);
    apps
}

fn is_app(context: &mut Context<'_>, named: Option<&str>, tree: &Tree) -> bool {
    if !tree.is_map() {
        let text = format!("expected an app, which is a table, found {}", tree.kind());
        context.fail(tree.line, named, text);
    }
    tree.is_map()
}

fn shape<'t>(context: &mut Context<'_>, tree: &'t Tree) -> Shape<'t> {
    if let Data::List(items) = &tree.data {
        return Shape { apps: items.iter().map(|item| (None, item)).collect(), ..Shape::default() };
    }
    if !tree.is_map() {
        let text = format!("expected apps: a list, or a table, found {}", tree.kind());
        context.fail(tree.line, None, text);
        return Shape::default();
    }
    let container = ["apps", "app", "pm2", "static", "defaults"];
    let one = tree
        .entries()
        .iter()
        .any(|entry| keys::find(&entry.name).is_some_and(|key| key.name == "script"));
    if one || !container.iter().any(|name| tree.get(name).is_some()) {
        return bare(context, tree);
    }
    unknown(context, tree);
    let apps = ["apps", "app", "pm2"].iter().filter_map(|name| tree.get(name));
    Shape {
        apps: apps.flat_map(items).collect(),
        statics: tree.get("static").map(items).unwrap_or_default(),
        defaults: tree.get("defaults").filter(|defaults| defaults.is_map()),
    }
}

/// The whole file is one app, or has only deployments, or its `apps` are mistyped.
fn bare<'t>(context: &mut Context<'_>, tree: &'t Tree) -> Shape<'t> {
    let no_app = tree.entries().iter().all(|entry| keys::find(&entry.name).is_none());
    if no_app {
        for entry in tree.entries().iter().filter(|entry| !BESIDE.contains(&entry.name.as_str())) {
            let hint = hint(nearest(&entry.name, BESIDE));
            let text = format!("neither `apps` nor `script` is there, but `{}`{hint}", entry.name);
            context.fail(entry.line, None, text);
        }
        return Shape::default();
    }
    Shape { apps: vec![(None, tree)], ..Shape::default() }
}

fn unknown(context: &mut Context<'_>, tree: &Tree) {
    for entry in tree.entries().iter().filter(|entry| !BESIDE.contains(&entry.name.as_str())) {
        let text = format!("unknown key `{}`{}", entry.name, hint(nearest(&entry.name, BESIDE)));
        if context.strict {
            context.fail(entry.line, None, text);
        } else {
            context.warn(entry.line, None, text);
        }
    }
}

/// A list, a table by names, or one.
fn items(tree: &Tree) -> Vec<(Option<&str>, &Tree)> {
    match &tree.data {
        Data::List(items) => items.iter().map(|item| (None, item)).collect(),
        Data::Map(entries) if entries.iter().all(|entry| entry.value.is_map()) => {
            entries.iter().map(|entry| (Some(entry.name.as_str()), &entry.value)).collect()
        }
        Data::Null => Vec::new(),
        Data::Map(_) | Data::Bool(_) | Data::Number(_) | Data::Text(_) => vec![(None, tree)],
    }
}

/// An app over the defaults. Of environments single variables are laid over, of all else the whole.
fn over<'t>(defaults: Option<&Tree>, app: &'t Tree) -> Cow<'t, Tree> {
    let Some(defaults) = defaults else { return Cow::Borrowed(app) };
    let mut entries = app.entries().to_vec();
    for default in defaults.entries() {
        let same = |entry: &&mut Entry| match (keys::find(&entry.name), keys::find(&default.name)) {
            (Some(one), Some(other)) => one.name == other.name,
            (_, _) => entry.name == default.name,
        };
        let is_env = default.name == "env" || keys::environment(&default.name).is_some();
        match entries.iter_mut().find(same) {
            None => entries.push(default.clone()),
            Some(own) if is_env => own.value = over(Some(&default.value), &own.value).into_owned(),
            Some(_) => {}
        }
    }
    Cow::Owned(Tree::new(app.line, Data::Map(entries)))
}

/// Apps that the file names alike are a mistake; those that it does not name are counted.
fn distinct(context: &mut Context<'_>, apps: &mut [App]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for app in apps {
        let count = seen.entry(app.name.clone()).or_default();
        *count += 1;
        if *count == 1 {
            continue;
        }
        let first = app.name.clone();
        if app.named {
            context.fail(app.line, Some(&first), "another app has this name already".to_owned());
            continue;
        }
        app.name = format!("{first}-{}", *count - 1);
        app.base_name.clone_from(&app.name);
        app.patch.set("name", &app.name);
        let text = format!("another app has this name already, so this one is `{}`", app.name);
        context.warn(app.line, Some(&first), text);
    }
}
