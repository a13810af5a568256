// Package interop holds the checks against the real peers, which .ci/run runs.
package interop
