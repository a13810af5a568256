// Package settings reads what the tags of a struct say of its settings: their names, types, bounds, accepted values and help. The same tags
// check a value, print the list of keys and make a JSON Schema, so that nothing of it is written twice.
//
//	type Args struct {
//		WarmupRatio float64 `yaml:"warmup_ratio" bounds:"[0,1]" help:"warm-up as a share of all steps"`
//	}
//
// The tags of a field:
//
//   - yaml: its name; "-" is not a setting, and ",inline" puts the fields of an embedded struct in the place of its own
//   - help: one line for people
//   - enum: the accepted values, separated by commas; those of a table come from the struct's [Chooser]
//   - bounds: an interval, as [0,1), (0,] or [1,100], of a number or of each number of a list. A whole number is at most 2147483647 where
//     it names no upper end, an unsigned one any; numbers are finite
//   - or: one more value beside the interval, as -1
//   - unset: "true" where a zero in Go says that the setting is not made; documents, which have a default for each, are held to the bounds
//   - alias: a former name, which is still read, with a warning
//   - since: the version that added it
package settings
