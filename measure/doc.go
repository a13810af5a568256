// Package measure measures loaded models on held-out data: a row of the table [Measures] for each measure, each in a file of
// its own, which says its numbers, how they are printed and which direction is better. A run measures before and after training
// ([Run]); a report prints whatever measures there are ([Sections], [Print], [Card], [Summary]), and knows none by name.
//
// The package knows no Beam.
package measure
