package assets

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Licenses is the licences and the origin of everything embedded, and those of every Go module that is linked in (interop/notices makes
// that part).
func Licenses() ([]byte, error) {
	var out bytes.Buffer
	for _, part := range []struct{ title, file string }{
		{"", "README.md"},
		{"Copyright of the manual pages", "linux_man_en/COPYRIGHT.zst"},
		{"Licence of GSM8K", "gsm8k/LICENSE"},
		{"Licence of HH-RLHF", "hh_rlhf/LICENSE"},
		{"Go modules", "modules.txt.zst"},
	} {
		text, err := unpacked("files/" + part.file)
		if err != nil {
			return nil, fmt.Errorf("the embedded licence text %s is damaged: %w", part.file, err)
		}
		if part.title != "" {
			fmt.Fprintf(&out, "\n# %s\n\n", part.title)
		}
		out.Write(text)
	}
	return out.Bytes(), nil
}

// unpacked is the content of an embedded file, decompressed where its name ends in .zst.
func unpacked(name string) ([]byte, error) {
	raw, err := files.ReadFile(name)
	if err != nil || !strings.HasSuffix(name, ".zst") {
		return raw, err
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(raw, nil)
}
