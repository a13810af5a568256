package peft

import "bytes"

// BaseMark stands for the base model's path in what workers write that do not know it; it is quoted in YAML and JSON as an absolute path
// is.
const BaseMark = "/adaptflow/the-base-model-of-the-run"

// Naming are the files of an adapter folder that name the base; that which makes the folder whole is last.
var Naming = []string{CardFile, ConfigFile}

// NameBase is the text of an adapter_config.json or of a model card, as [Adapter.Save] writes them, in which the base model was called was,
// with another name. It is for folders that are written where the name is not known: was is then a mark that stands nowhere else, a string
// that JSON and YAML quote as they do the name (an absolute path for an absolute path).
func NameBase(text []byte, was, name string) []byte {
	text = bytes.ReplaceAll(text, []byte("`"+was+"`"), []byte("`"+name+"`"))
	inner := func(s string) []byte { quoted := encode(s, ""); return quoted[1 : len(quoted)-1] }
	return bytes.ReplaceAll(text, inner(was), inner(name))
}
