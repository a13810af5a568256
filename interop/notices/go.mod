module github.com/adaptflow/adaptflow/interop/notices

go 1.25

require (
	github.com/google/licensecheck v0.3.1
	github.com/klauspost/compress v1.20.3
)
