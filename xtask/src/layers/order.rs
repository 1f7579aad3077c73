//! Uses against the declared order, and modules that it does not place.

use std::collections::BTreeSet;

use super::{
    config::{FILE, OWN_FILE, Order, Source, title},
    graph::{Graph, Unit},
    report::Problem,
};

/// Checks one source against the orders of its modules.
pub fn check(source: &Source, orders: &[Order], graph: &Graph) -> Vec<Problem> {
    let orders: Vec<&Order> = orders.iter().filter(|order| order.source == source.name).collect();
    let mut problems: Vec<Problem> = orders.iter().flat_map(|order| places(order, graph)).collect();
    for edge in &graph.edges {
        let lifted = graph.lift(edge);
        let Some(order) = orders.iter().find(|order| order.module == lifted.module) else {
            continue;
        };
        let (from, to) = (name(&lifted.from), name(&lifted.to));
        let (Some(from_layer), Some(to_layer)) = (order.layer(from), order.layer(to)) else {
            continue;
        };
        let are_apart = order.apart.contains(from) && order.apart.contains(to);
        let this = order.title();
        let (rule, remedy) = if from_layer < to_layer {
            let remedy = format!("to one below both, or this code to one above `{to}`");
            (format!("`{from}` is below `{to}` in the order of {this}"), remedy)
        } else if are_apart && from != to {
            let rule = format!("`{from}` and `{to}` of {this} are apart");
            (rule, "to one below both, or this code to one above both".to_owned())
        } else {
            continue;
        };
        let (path, target, used) = (graph.path(edge.from), graph.path(edge.to), &edge.name);
        let text =
            format!("uses `{used}` of {target}, but {rule} ({FILE}); move the definition {remedy}");
        problems.push(Problem::at(path, edge.line, text));
    }
    problems
}

fn name(unit: &Unit) -> &str {
    match unit {
        Unit::OwnFile => OWN_FILE,
        Unit::Child(name) => name,
    }
}

/// Compares the names of an order with the children that the module has.
fn places(order: &Order, graph: &Graph) -> Vec<Problem> {
    let depth = order.module.len();
    let below = graph.files.iter().filter(|file| file.module.starts_with(&order.module));
    let children: BTreeSet<&str> =
        below.filter_map(|file| file.module.get(depth).map(String::as_str)).collect();
    let placed: BTreeSet<&str> = order.layers.iter().flatten().map(String::as_str).collect();
    let this = title(&order.source, &order.module);
    let missing = children.difference(&placed).map(|child| {
        Problem::of(FILE, format!("module `{child}` of {this} is in no layer; add it to one"))
    });
    let unknown = placed.difference(&children).filter(|name| **name != OWN_FILE).map(|name| {
        Problem::of(FILE, format!("{this} has no module `{name}`; remove it from the order"))
    });
    missing.chain(unknown).collect()
}
