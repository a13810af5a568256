// Package parts has files of small records, by which a set of any size is taken apart and brought together again without any of it
// passing through a shuffle. A record is a place, 64 bits, and bytes. A file is sorted by place, and by bytes where places are equal, and
// cut into at most 256 parts by 8 bits of the places; a [Slice] refers to one part, or to all, and is read by one request. What many files
// have in one part is brought together by reading their slices of it; where that is too much to be held, it is written as files again
// that are cut by the next 8 bits. transforms/partition is the pipeline that does so.
package parts
