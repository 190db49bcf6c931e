"""Pure decisions: snapshot in; verdict, route and endpoint out."""
