package jobserver

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Versions are those of what a job server is made of.
type Versions struct {
	Beam   string `json:"beam"`   // of Beam's runner with its job server: 2.62.0
	Engine string `json:"engine"` // of Flink or Spark: 1.19.0; a minor version alone, 1.19, is its first release
}

// series is a minor version of an engine and what of Beam's serves it. Beam's releases and the versions of Flink that they serve:
// https://beam.apache.org/documentation/runners/flink/#flink-version-compatibility. Its runner for Spark 3 is compiled against Spark 3.2.2
// and tested up to 3.5.0, all of them with Scala 2.12.
type series struct {
	minor  string // 1.19
	runner string // artifact id of Beam's runner
	since  string // first release of Beam that has it
}

// oldestBeam and newestBeam bound the releases that can be brought up. Their servers are made with the gRPC that loopback.jar is compiled
// against, beam-vendor-grpc-1_60_1: from 2.63.0 on Beam has another, under other names, and without that class its servers would listen on
// all interfaces. Since 2.57.0 Beam has Jackson 2.15, which the poms here are for.
const oldestBeam, newestBeam = "2.57.0", "2.62.0"

// grpc begins the name of the jar that loopback.jar is compiled against.
const grpc = "beam-vendor-grpc-1_60_1-"

var (
	release      = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,5}){2}$`)
	minorRelease = regexp.MustCompile(`^[0-9]{1,5}\.[0-9]{1,5}$`)
)

// Flag is the name of the flag with the engine's version, without dashes.
func (e Engine) Flag() string { return e.Name + "-version" }

// Serves are the minor versions of the engine that can be brought up, as text.
func (e Engine) Serves() string {
	var out []string
	for _, s := range e.series {
		out = append(out, s.minor)
	}
	return list(out, "and")
}

// says is how a person reads versions.
func (e Engine) says(v Versions) string {
	return "Beam " + v.Beam + " with " + e.Title + " " + v.Engine
}

// resolve completes versions with the pinned ones, and refuses those that no runner of Beam's serves or that could not be kept on the
// loopback address.
func (e Engine) resolve(v Versions) (Versions, series, error) {
	if v.Beam == "" {
		v.Beam = e.Pinned.Beam
	}
	if v.Engine == "" {
		v.Engine = e.Pinned.Engine
	}
	if !release.MatchString(v.Beam) {
		return v, series{}, fmt.Errorf("--beam-version %q: want a release as %s", v.Beam, e.Pinned.Beam)
	}
	if minorRelease.MatchString(v.Engine) {
		v.Engine += ".0"
	}
	if !release.MatchString(v.Engine) {
		return v, series{}, fmt.Errorf("--%s %q: want a release as %s or a minor version as %s", e.Flag(), v.Engine, e.Pinned.Engine,
			minor(e.Pinned.Engine))
	}
	if older(v.Beam, oldestBeam) || older(newestBeam, v.Beam) {
		return v, series{}, fmt.Errorf("--beam-version %s: what keeps the servers on the loopback address fits those of Beam %s to %s "+
			"alone; start the job server of another yourself, and name it by --endpoint HOST:PORT", v.Beam, oldestBeam, newestBeam)
	}
	at := slices.IndexFunc(e.series, func(s series) bool { return s.minor == minor(v.Engine) })
	if at < 0 {
		return v, series{}, fmt.Errorf("--%s %s: the runners of Beam %s to %s serve %s %s here; start Beam's job server for another "+
			"yourself, and name it by --endpoint HOST:PORT", e.Flag(), v.Engine, oldestBeam, newestBeam, e.Title, e.Serves())
	}
	s := e.series[at]
	if older(v.Beam, s.since) {
		err := fmt.Errorf("--beam-version %s: Beam has no runner for %s %s: org.apache.beam:%s begins with %s; "+
			"give --beam-version %s or newer", v.Beam, e.Title, s.minor, s.runner, s.since, s.since)
		var served []string
		for _, o := range e.series {
			if !older(v.Beam, o.since) {
				served = append(served, o.minor)
			}
		}
		if len(served) > 0 {
			err = fmt.Errorf("%w, or --%s %s", err, e.Flag(), list(served, "or"))
		}
		return v, series{}, err
	}
	return v, s, nil
}

// pom is the Maven project whose dependencies are the jars of versions: the pinned one, with other versions in it.
func (e Engine) pom(v Versions, s series) ([]byte, error) {
	raw, err := pinned.ReadFile(e.Name + "/pom.xml")
	if err != nil || v == e.Pinned {
		return raw, err
	}
	_, own, err := e.resolve(e.Pinned)
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer(">"+own.runner+"<", ">"+s.runner+"<", ">"+e.Pinned.Beam+"<", ">"+v.Beam+"<",
		">"+e.Pinned.Engine+"<", ">"+v.Engine+"<").Replace(string(raw))
	var parts strings.Builder
	for _, artifact := range e.managed {
		parts.WriteString("    <dependency>")
		part := strings.Split(artifact, ":")
		if len(part) == 2 {
			part = append(part, v.Engine)
		}
		for i, name := range []string{"groupId", "artifactId", "version", "scope"}[:len(part)] {
			fmt.Fprintf(&parts, "<%s>%s</%s>", name, part[i], name)
		}
		parts.WriteString("</dependency>\n")
	}
	text = strings.Replace(text, "  <dependencies>\n", "  <dependencyManagement><dependencies>\n"+parts.String()+
		"  </dependencies></dependencyManagement>\n  <dependencies>\n", 1)
	return []byte(text), nil
}

// minor is the minor version of a release: 1.19 of 1.19.0.
func minor(version string) string { return version[:strings.LastIndexByte(version, '.')] }

// older says whether a release comes before another, by their numbers.
func older(a, b string) bool { return slices.Compare(numbers(a), numbers(b)) < 0 }

func numbers(version string) (out []int) {
	for _, s := range strings.Split(version, ".") {
		n, _ := strconv.Atoi(s) // release has matched
		out = append(out, n)
	}
	return out
}

// list joins names as a sentence does.
func list(names []string, word string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + word + " " + names[len(names)-1]
}
