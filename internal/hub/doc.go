// Package hub downloads models over the Hugging Face Hub's HTTP API into the cache that huggingface_hub and its kin share:
//
//	$HF_HUB_CACHE, $HF_HOME/hub or ~/.cache/huggingface/hub
//	  models--org--name/blobs/ETAG               the files' bytes, named by their checksum
//	  models--org--name/refs/REVISION            the commit that a branch or tag stood at
//	  models--org--name/snapshots/COMMIT/FILE    links to the blobs
//	  models--org--name/.checked/ETAG            size and times of a blob that was found right, so that it is not read again
//	  .locks/models--org--name/ETAG.lock         held while a blob is written
//
// A download that was broken off is resumed where it stopped, and no byte is used whose checksum has not been compared, when it comes and
// when it is used later. The token goes to the hub's scheme, host and port alone, and never over plain http to another machine. The layout
// is that of https://huggingface.co/docs/hub/local-cache.
package hub
