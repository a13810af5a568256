package pasted

import "testing"

func TestExample(t *testing.T) {
	const doc = "# x\n\n## A\n\ntext\n\n```json\n{}\n```\n\n```go\npackage a\n\nvar A int\n```\n\nmore\n\n## B\n\nnone\n"
	if section, block := example(doc, "A"); block != "package a\n\nvar A int\n" || section[len(section)-5:] != "more\n" {
		t.Errorf("%q, %q", section, block)
	}
	for _, h := range []string{"B", "C"} {
		if _, block := example(doc, h); block != "" {
			t.Errorf("%s has the example %q", h, block)
		}
	}
}
