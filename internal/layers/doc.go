// Package layers keeps the order of imports: a table of the folders from the lowest to the highest, and the test that reads the
// module's imports with go list. It has no code that a program uses.
package layers
