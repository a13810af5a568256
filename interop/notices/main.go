// Command notices gathers the licences of every Go module that is linked into the program, for any system it is built for, with the notices
// that Apache-2.0 asks to be passed on. `adaptflow licenses` prints what it writes.
//
//	go -C interop/notices run .          writes templates/assets/files/modules.txt.zst
//	go -C interop/notices run . -check   is an error where that file is not what would be written
//
// Licences are recognised by google/licensecheck, which pkg.go.dev uses; a module whose licence it does not know is an error.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
	"github.com/klauspost/compress/zstd"
)

const (
	root = "../.."
	out  = root + "/templates/assets/files/modules.txt.zst"
)

// by hand: licences that the classifier finds only in part, read by a person.
var byHand = map[string]string{
	"github.com/ajstarks/svgo":   "CC-BY-4.0",
	"github.com/golang/freetype": "FTL or GPL-2.0-or-later",
}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|ftl)([.-].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)([.-].*)?$`)
)

type module struct {
	Path, Version, Dir string
	Main               bool
}

func main() {
	check := flag.Bool("check", false, "compare with the file in place of writing it")
	flag.Parse()
	text, err := gather()
	if err == nil {
		err = finish(text, *check)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func finish(text []byte, check bool) error {
	if !check {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		if err != nil {
			return err
		}
		return os.WriteFile(out, w.EncodeAll(text, nil), 0o644)
	}
	packed, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	r, err := zstd.NewReader(nil)
	if err != nil {
		return err
	}
	defer r.Close()
	have, err := r.DecodeAll(packed, nil)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, text) {
		return errors.New("templates/assets/files/modules.txt.zst is not up to date: run go -C interop/notices run .")
	}
	return nil
}

// gather is the list of modules with their licences, then each text once, under the modules that carry it.
func gather() ([]byte, error) {
	modules, err := linked()
	if err != nil {
		return nil, err
	}
	var list bytes.Buffer
	texts, carriers := []string{}, map[string][]string{}
	add := func(name, file, text string) {
		text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
		if carriers[text] == nil {
			texts = append(texts, text)
		}
		carriers[text] = append(carriers[text], name+" ("+file+")")
	}
	for _, m := range modules {
		names, err := m.read(add)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&list, "%s %s: %s\n", m.Path, m.Version, names)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	std, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), "LICENSE"))
	if err != nil {
		return nil, err
	}
	add("Go and its standard library", "LICENSE", string(std))
	fmt.Fprintln(&list, "Go and its standard library: BSD-3-Clause")
	for _, text := range texts {
		fmt.Fprintf(&list, "\n%s\n%s\n\n%s\n", strings.Repeat("-", 80), strings.Join(carriers[text], "\n"), text)
	}
	return list.Bytes(), nil
}

// linked is the modules of the program on Linux, macOS and Windows, by path.
func linked() ([]module, error) {
	found := map[string]module{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-json=Module", "./cmd/adaptflow")
		cmd.Dir, cmd.Stderr = root, os.Stderr
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		raw, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", system, err)
		}
		for d := json.NewDecoder(bytes.NewReader(raw)); ; {
			var p struct{ Module *module }
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module != nil && !p.Module.Main {
				found[p.Module.Path] = *p.Module
			}
		}
	}
	var all []module
	for _, m := range found {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// read adds a module's licence and notice files and names its licences.
func (m module) read(add func(name, file, text string)) (string, error) {
	if m.Dir == "" {
		return "", fmt.Errorf("%s %s is not in the module cache: run go mod download", m.Path, m.Version)
	}
	var files []string
	for _, folder := range []string{".", "licenses"} {
		entries, err := os.ReadDir(filepath.Join(m.Dir, folder))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if !e.IsDir() && (licenceFile.MatchString(e.Name()) || noticeFile.MatchString(e.Name())) {
				files = append(files, filepath.Join(folder, e.Name()))
			}
		}
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(m.Dir, file))
		if err != nil {
			return "", err
		}
		add(m.Path, file, string(text))
		for _, match := range licensecheck.Scan(text).Match {
			if !slices.Contains(names, match.ID) && !match.IsURL {
				names = append(names, match.ID)
			}
		}
	}
	if by := byHand[m.Path]; by != "" {
		names = []string{by}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s %s: the licence is not known (files %q)", m.Path, m.Version, files)
	}
	return strings.Join(names, ", "), nil
}
