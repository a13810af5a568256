package report

import (
	"strings"
	"testing"
)

// The table says what multiplied and why; a run of a version that did not record the reason has no such row.
func TestTableNamesKernelSet(t *testing.T) {
	m := &Metrics{}
	m.About.KernelSet = "avx512"
	var b strings.Builder
	m.Table(&b, "out")
	if strings.Contains(b.String(), "kernel set") {
		t.Errorf("a reason of nothing: %s", &b)
	}
	m.About.KernelWhy, m.About.DType = "because of the vendor", "float32"
	b.Reset()
	m.Table(&b, "out")
	if want := "avx512, float32 (because of the vendor)"; !strings.Contains(b.String(), want) {
		t.Errorf("the table lacks %q: %s", want, &b)
	}
}
