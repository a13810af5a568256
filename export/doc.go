// Package export writes trained adapters in the formats that others read: a row of the table [Formats] for each, in a file of
// its own, which says what it takes, what it refuses and why, and writes it. A run writes what its settings ask for ([Write])
// and refuses before it begins what cannot be written ([Check]).
//
// The package knows no Beam.
package export
