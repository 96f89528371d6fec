package regions

// table is one region a line: provider, region, zone, place. Above the regions
// of a provider stands the page on which it names their places. A zone is that
// of the grid operator who serves the place; it is the whole country where the
// provider says no more, or where Electricity Maps does not divide it.
const table = `
# aws https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
aws af-south-1 ZA Cape Town
aws ap-east-1 HK Hong Kong
aws ap-east-2 TW Taipei
aws ap-northeast-1 JP-TK Tokyo
aws ap-northeast-2 KR Seoul
aws ap-northeast-3 JP-KN Osaka
aws ap-south-1 IN-WE Mumbai
aws ap-south-2 IN-SO Hyderabad
aws ap-southeast-1 SG Singapore
aws ap-southeast-2 AU-NSW Sydney
aws ap-southeast-3 ID Jakarta
aws ap-southeast-4 AU-VIC Melbourne
aws ap-southeast-5 MY-WM Malaysia
aws ap-southeast-6 NZ New Zealand
aws ap-southeast-7 TH Thailand
aws ca-central-1 CA-QC Montreal
aws ca-west-1 CA-AB Calgary
aws cn-north-1 CN Beijing
aws cn-northwest-1 CN Ningxia
aws eu-central-1 DE Frankfurt
aws eu-central-2 CH Zurich
aws eu-north-1 SE-SE3 Stockholm
aws eu-south-1 IT-NO Milan
aws eu-south-2 ES Spain
aws eu-west-1 IE Ireland
aws eu-west-2 GB London
aws eu-west-3 FR Paris
aws eusc-de-east-1 DE Brandenburg
aws il-central-1 IL Tel Aviv
aws me-central-1 AE UAE
aws me-south-1 BH Bahrain
aws mx-central-1 MX Mexico
aws sa-east-1 BR-CS Sao Paulo
aws us-east-1 US-MIDA-PJM N. Virginia
aws us-east-2 US-MIDA-PJM Ohio
aws us-gov-east-1 US US-East
aws us-gov-west-1 US US-West
aws us-west-1 US-CAL-CISO N. California
aws us-west-2 US-NW-BPAT Oregon
# gcp https://cloud.google.com/compute/docs/regions-zones
gcp africa-south1 ZA Johannesburg
gcp asia-east1 TW Changhua County
gcp asia-east2 HK Hong Kong
gcp asia-northeast1 JP-TK Tokyo
gcp asia-northeast2 JP-KN Osaka
gcp asia-northeast3 KR Seoul
gcp asia-south1 IN-WE Mumbai
gcp asia-south2 IN-NO Delhi
gcp asia-southeast1 SG Jurong West
gcp asia-southeast2 ID Jakarta
gcp asia-southeast3 TH Bangkok
gcp australia-southeast1 AU-NSW Sydney
gcp australia-southeast2 AU-VIC Melbourne
gcp europe-central2 PL Warsaw
gcp europe-north1 FI Hamina
gcp europe-north2 SE-SE3 Stockholm
gcp europe-southwest1 ES Madrid
gcp europe-west1 BE St. Ghislain
gcp europe-west10 DE Berlin
gcp europe-west12 IT-NO Turin
gcp europe-west2 GB London
gcp europe-west3 DE Frankfurt
gcp europe-west4 NL Eemshaven
gcp europe-west6 CH Zurich
gcp europe-west8 IT-NO Milan
gcp europe-west9 FR Paris
gcp me-central1 QA Doha
gcp me-central2 SA Dammam
gcp me-west1 IL Tel Aviv
gcp northamerica-northeast1 CA-QC Montreal
gcp northamerica-northeast2 CA-ON Toronto
gcp northamerica-south1 MX Queretaro
gcp southamerica-east1 BR-CS Osasco
gcp southamerica-west1 CL-SEN Santiago
gcp us-central1 US-MIDW-MISO Council Bluffs
gcp us-east1 US-CAR-SC Moncks Corner
gcp us-east4 US-MIDA-PJM Ashburn
gcp us-east5 US-MIDA-PJM Columbus
gcp us-south1 US-TEX-ERCO Dallas
gcp us-west1 US-NW-BPAT The Dalles
gcp us-west2 US-CAL-LDWP Los Angeles
gcp us-west3 US-NW-PACE Salt Lake City
gcp us-west4 US-NW-NEVP Las Vegas
# azure https://learn.microsoft.com/azure/reliability/regions-list
azure australiacentral AU-NSW Canberra
azure australiacentral2 AU-NSW Canberra
azure australiaeast AU-NSW New South Wales
azure australiasoutheast AU-VIC Victoria
azure austriaeast AT Vienna
azure belgiumcentral BE Brussels
azure brazilsouth BR-CS Sao Paulo
azure brazilsoutheast BR-CS Rio
azure canadacentral CA-ON Toronto
azure canadaeast CA-QC Quebec
azure centralindia IN-WE Pune
azure centralus US-MIDW-MISO Iowa
azure chilecentral CL-SEN Santiago
azure chinaeast CN Shanghai
azure chinaeast2 CN Shanghai
azure chinaeast3 CN Jiangsu
azure chinanorth CN Beijing
azure chinanorth2 CN Beijing
azure chinanorth3 CN Hebei
azure eastasia HK Hong Kong
azure eastus US-MIDA-PJM Virginia
azure eastus2 US-MIDA-PJM Virginia
azure francecentral FR Paris
azure francesouth FR Marseille
azure germanynorth DE Berlin
azure germanywestcentral DE Frankfurt
azure indonesiacentral ID Jakarta
azure israelcentral IL Israel
azure italynorth IT-NO Milan
azure japaneast JP-TK Tokyo, Saitama
azure japanwest JP-KN Osaka
azure jioindiacentral IN-WE Nagpur
azure jioindiawest IN-WE Jamnagar
azure koreacentral KR Seoul
azure koreasouth KR Busan
azure malaysiawest MY-WM Kuala Lumpur
azure mexicocentral MX Queretaro
azure newzealandnorth NZ Auckland
azure northcentralus US-MIDA-PJM Illinois
azure northeurope IE Ireland
azure norwayeast NO-NO1 Norway (Oslo)
azure norwaywest NO-NO2 Norway (Stavanger)
azure polandcentral PL Warsaw
azure qatarcentral QA Doha
azure southafricanorth ZA Johannesburg
azure southafricawest ZA Cape Town
azure southcentralus US-TEX-ERCO Texas
azure southeastasia SG Singapore
azure southindia IN-SO Chennai
azure spaincentral ES Madrid
azure swedencentral SE-SE3 Gävle
azure swedensouth SE-SE4 Malmö
azure switzerlandnorth CH Zurich
azure switzerlandwest CH Geneva
azure uaecentral AE Abu Dhabi
azure uaenorth AE Dubai
azure uksouth GB London
azure ukwest GB Cardiff
azure usdodcentral US-MIDW-MISO Iowa
azure usdodeast US-MIDA-PJM Virginia
azure usgovarizona US-SW-AZPS Arizona
azure usgovtexas US-TEX-ERCO Texas
azure usgovvirginia US-MIDA-PJM Virginia
azure westcentralus US-NW-WACM Wyoming (Cheyenne)
azure westeurope NL Netherlands
azure westindia IN-WE Mumbai
azure westus US-CAL-CISO California
azure westus2 US-NW-GCPD Washington (Quincy)
azure westus3 US-SW-AZPS Phoenix
# ovh https://www.ovhcloud.com/en/public-cloud/regions-availability/
ovh bhs CA-QC Beauharnois
ovh ca-east-tor CA-ON Toronto
ovh de DE Limburg
ovh eu-west-par FR Paris
ovh gra FR Gravelines
ovh rbx FR Roubaix
ovh sbg FR Strasbourg
ovh sgp SG Singapore
ovh syd AU-NSW Sydney
ovh uk GB London
ovh us-east-va US-MIDA-PJM Vint Hill
ovh us-west-or US-NW-PGE Hillsboro
ovh waw PL Warsaw
# scaleway https://www.scaleway.com/en/docs/account/reference-content/products-availability/
scaleway fr-par FR Paris
scaleway it-mil IT-NO Milan
scaleway nl-ams NL Amsterdam
scaleway pl-waw PL Warsaw
# hetzner https://docs.hetzner.com/cloud/general/locations/
hetzner ash US-MIDA-PJM Ashburn
hetzner fsn1 DE Falkenstein
hetzner hel1 FI Helsinki
hetzner hil US-NW-PGE Hillsboro
hetzner nbg1 DE Nuremberg
hetzner sin SG Singapore
# alibaba https://www.alibabacloud.com/help/en/cloud-migration-guide-for-beginners/latest/regions-and-zones
alibaba ap-northeast-1 JP-TK Tokyo
alibaba ap-northeast-2 KR Seoul
alibaba ap-southeast-1 SG Singapore
alibaba ap-southeast-3 MY-WM Kuala Lumpur
alibaba ap-southeast-5 ID Jakarta
alibaba ap-southeast-6 PH Manila
alibaba ap-southeast-7 TH Bangkok
alibaba cn-beijing CN Beijing
alibaba cn-chengdu CN Chengdu
alibaba cn-guangzhou CN Guangzhou
alibaba cn-hangzhou CN Hangzhou
alibaba cn-hongkong HK Hong Kong
alibaba cn-huhehaote CN Hohhot
alibaba cn-qingdao CN Qingdao
alibaba cn-shanghai CN Shanghai
alibaba cn-shenzhen CN Shenzhen
alibaba cn-zhangjiakou CN Zhangjiakou
alibaba eu-central-1 DE Frankfurt
alibaba eu-west-1 GB London
alibaba me-central-1 SA Riyadh
alibaba me-east-1 AE Dubai
alibaba us-east-1 US-MIDA-PJM Virginia
alibaba us-west-1 US-CAL-CISO Silicon Valley
`
