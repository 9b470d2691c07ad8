package reposync

var (
	ParseMirrorlist = parseMirrorlist
	ContentRange    = contentRange
)

// ParseMetalinkMirrors returns how many mirrors a metalink names.
func ParseMetalinkMirrors(data []byte) (int, error) {
	ml, err := parseMetalink(data, nil)
	if err != nil {
		return 0, err
	}
	_ = ml.check(data)
	return len(ml.mirrors), nil
}

// JoinString is join for a base given as text.
func JoinString(base, location string) (string, error) {
	b, err := parseURL(base)
	if err != nil {
		return "", err
	}
	u, err := join(b, location)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}
