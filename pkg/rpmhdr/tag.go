package rpmhdr

import "strconv"

// Tag is the number of a header entry, as rpm's include/rpm/rpmtag.h lists
// them. Tags of the signature header of a package file appear under the same
// numbers in the headers of the installed-package database for those of 256
// and above.
type Tag uint32

// The tags that this project reads.
const (
	TagHeaderImage      Tag = 61 // region of headers from before rpm 4
	TagHeaderSignatures Tag = 62 // region of a signature header
	TagHeaderImmutable  Tag = 63 // region of a package header
	TagI18NTable        Tag = 100

	TagSigSize         Tag = 257
	TagSigPGP          Tag = 259 // signature over header and payload
	TagSigMD5          Tag = 261 // MD5 over header and payload
	TagSigGPG          Tag = 262 // DSA signature over header and payload
	TagPubkeys         Tag = 266
	TagDSAHeader       Tag = 267 // DSA signature over the header
	TagRSAHeader       Tag = 268 // RSA signature over the header
	TagSHA1Header      Tag = 269 // hex SHA-1 over the header
	TagLongSigSize     Tag = 270
	TagLongArchiveSize Tag = 271
	TagSHA256Header    Tag = 273 // hex SHA-256 over the header
	TagOpenPGP         Tag = 278 // base64 OpenPGP signatures (rpm 6)
	TagSHA3Header      Tag = 279 // hex SHA3-256 over the header (rpm 6)

	TagName            Tag = 1000
	TagVersion         Tag = 1001
	TagRelease         Tag = 1002
	TagEpoch           Tag = 1003
	TagSummary         Tag = 1004
	TagDescription     Tag = 1005
	TagBuildTime       Tag = 1006 // seconds since 1970
	TagBuildHost       Tag = 1007
	TagInstallTime     Tag = 1008 // seconds since 1970
	TagSize            Tag = 1009 // installed bytes, below 4 GiB
	TagDistribution    Tag = 1010
	TagVendor          Tag = 1011
	TagLicense         Tag = 1014
	TagPackager        Tag = 1015
	TagGroup           Tag = 1016
	TagURL             Tag = 1020
	TagOS              Tag = 1021
	TagArch            Tag = 1022
	TagPreIn           Tag = 1023
	TagPostIn          Tag = 1024
	TagPreUn           Tag = 1025
	TagPostUn          Tag = 1026
	TagOldFilenames    Tag = 1027 // whole paths, before rpm 4
	TagFileSizes       Tag = 1028
	TagFileStates      Tag = 1029
	TagFileModes       Tag = 1030
	TagFileRdevs       Tag = 1033
	TagFileMtimes      Tag = 1034
	TagFileDigests     Tag = 1035
	TagFileLinktos     Tag = 1036
	TagFileFlags       Tag = 1037
	TagFileUserName    Tag = 1039
	TagFileGroupName   Tag = 1040
	TagSourceRPM       Tag = 1044
	TagFileVerifyFlags Tag = 1045
	TagArchiveSize     Tag = 1046
	TagProvideName     Tag = 1047
	TagRequireFlags    Tag = 1048
	TagRequireName     Tag = 1049
	TagRequireVersion  Tag = 1050
	TagConflictFlags   Tag = 1053
	TagConflictName    Tag = 1054
	TagConflictVersion Tag = 1055
	TagRPMVersion      Tag = 1064
	TagPreInProg       Tag = 1085
	TagPostInProg      Tag = 1086
	TagPreUnProg       Tag = 1087
	TagPostUnProg      Tag = 1088
	TagChangelogName   Tag = 1081
	TagChangelogText   Tag = 1082
	TagObsoleteName    Tag = 1090
	TagFileInodes      Tag = 1096
	TagFileLangs       Tag = 1097
	TagPrefixes        Tag = 1098
	TagInstPrefixes    Tag = 1099
	TagSourcePackage   Tag = 1106
	TagProvideFlags    Tag = 1112
	TagProvideVersion  Tag = 1113
	TagObsoleteFlags   Tag = 1114
	TagObsoleteVersion Tag = 1115
	TagDirIndexes      Tag = 1116
	TagBasenames       Tag = 1117
	TagDirNames        Tag = 1118

	TagPayloadFormat     Tag = 1124
	TagPayloadCompressor Tag = 1125
	TagPayloadFlags      Tag = 1126
	TagInstallColor      Tag = 1127
	TagInstallTID        Tag = 1128
	TagFileColors        Tag = 1140

	TagLongFileSizes     Tag = 5008
	TagLongSize          Tag = 5009 // installed bytes of 4 GiB and more
	TagFileCaps          Tag = 5010
	TagFileDigestAlgo    Tag = 5011
	TagBugURL            Tag = 5012
	TagVCS               Tag = 5034
	TagRecommendName     Tag = 5046
	TagRecommendVersion  Tag = 5047
	TagRecommendFlags    Tag = 5048
	TagSuggestName       Tag = 5049
	TagSuggestVersion    Tag = 5050
	TagSuggestFlags      Tag = 5051
	TagSupplementName    Tag = 5052
	TagSupplementVersion Tag = 5053
	TagSupplementFlags   Tag = 5054
	TagEnhanceName       Tag = 5055
	TagEnhanceVersion    Tag = 5056
	TagEnhanceFlags      Tag = 5057
	TagEncoding          Tag = 5062
	TagPayloadDigest     Tag = 5092
	TagPayloadDigestAlgo Tag = 5093
	TagModularityLabel   Tag = 5096
	TagPayloadDigestAlt  Tag = 5097 // over the uncompressed payload
)

// String returns the number: the names are rpm's and may be looked up there.
func (t Tag) String() string { return strconv.FormatUint(uint64(t), 10) }

// Type is the data type of a header entry.
type Type uint32

// The data types, with the numbers of the format.
const (
	TypeNull        Type = 0
	TypeChar        Type = 1
	TypeInt8        Type = 2
	TypeInt16       Type = 3
	TypeInt32       Type = 4
	TypeInt64       Type = 5
	TypeString      Type = 6
	TypeBin         Type = 7
	TypeStringArray Type = 8
	TypeI18NString  Type = 9

	typeMax = TypeI18NString
)

// elementSize is the width of one element in bytes; 0 stands for strings,
// whose length only their terminators tell, and for the empty type.
var elementSize = [typeMax + 1]int{
	TypeChar: 1, TypeInt8: 1, TypeInt16: 2, TypeInt32: 4, TypeInt64: 8, TypeBin: 1,
}
