// Package recipe turns one strict YAML document into typed settings.
//
// A recipe has the sections model, data, prepare, method, train, evaluate and export. The fields of method are those of Hugging Face
// PEFT's configuration of that method, the fields of train those of Hugging Face's TrainingArguments where they exist. An unknown key
// is an error that gives its line and the nearest known name. Values come from three layers, the later over the earlier: the template,
// the recipe file, the settings of the command line ("--set key=value").
package recipe
