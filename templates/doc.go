// Package templates holds the embedded recipes with their typed parameters.
//
// A template is a file of recipes/ and a row of the table. From the same parameters come the command's help, a JSON Schema and
// Dataflow's flex-template metadata. Templates set a recipe's first layer; see package recipe.
package templates
