package reposync

var (
	ParseMirrorlist = parseMirrorlist
	ParseMetalink   = parseMetalink
	ContentRange    = contentRange
	Join            = join
	CacheName       = cacheName
)
