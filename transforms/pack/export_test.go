package pack

// PartsOf makes Shards bring documents together by their shard however few they are, in parts of so many bytes, or with 0 choose again.
func PartsOf(bytes int64) { partsOf = bytes }

// Direct says which way a plan of so many shards and files goes.
func Direct(shards int, files int64) bool {
	return (&ShardFn{Plan: Plan{Train: shards}, Files: files}).direct()
}

// Place and ShardAt are those of a plan of so many shards.
func Place(shards, shard int, hash uint64) uint64 { return (&Plan{Train: shards}).place(shard, hash) }

func ShardAt(shards int, place uint64) int { return shardBy(Bits(shards), shards, place) }

// Bits are those of a shard's place.
func Bits(shards int) int { return (&Plan{Train: shards}).bits() }
