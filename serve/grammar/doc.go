// Package grammar says byte by byte whether a text can become JSON of a schema, and which tokens may come next: what is generated under it
// is valid whatever the model would rather say. It writes a part of what a schema allows: properties in the order of the schema, with no
// white space but one blank behind commas and colons, and properties that the schema does not name only where it names none.
package grammar
