// Package storagetest has what the tests of object stores need: small servers that speak the HTTP of Amazon S3 ([S3]) and the JSON API of
// Google Cloud Storage ([GCS]) over one [Store] in memory or in a folder, with faults on demand ([Faults]), and the behaviour that
// internal/storage promises on every file system ([Suite]).
//
// The servers are written from the public documentation of the two services and from what their Go clients send. They are not a substitute
// for the services themselves, on which nothing here was run. The program objectserver serves both as a process of its own.
package storagetest
