package peft

import "bytes"

// NameBase is the text of an adapter_config.json or of a model card, as [Adapter.Save] writes them, in which the base model was called was,
// with another name. It is for folders that are written where the name is not known: was is then a mark that stands nowhere else, a string
// that JSON and YAML quote as they do the name (an absolute path for an absolute path).
func NameBase(text []byte, was, name string) []byte {
	text = bytes.ReplaceAll(text, []byte("`"+was+"`"), []byte("`"+name+"`"))
	inner := func(s string) []byte { quoted := encode(s, ""); return quoted[1 : len(quoted)-1] }
	return bytes.ReplaceAll(text, inner(was), inner(name))
}
