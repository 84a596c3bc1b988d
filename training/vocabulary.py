"""The small model's vocabulary, apart from the words of its captions: words of many prompts, and pieces of others.

A prompt's other words are spelled in twos and threes of letters, so that none is unknown.
"""

_OTHER_WORDS = """
a above across against air all alone along amidst among an and animal animation another apple are around as
at autumn away back background ball balloon bamboo beach beautiful before behind beneath beside between big
bird black blossoms blue boat book boy bridge bright brown building butterflies butterfly by camera candle
car casting cat cherry children cinematic city clear clock close cloud clouds coffee cold color colorful
comes coming countless crowd dance dances dancing dark dawn day deep delicate desert detailed distance dog
door down dragon drifting driving drone dust dusk each earth elephant embrace empty evening eyes face fall
falling falls fast field filled fire fireworks fish flame floating floor flower flowers flowing flutters fly
flying fog for forest fountain fox from full galaxy garden gentle girl glass glides glow glowing gold golden
grand grass gray green guitar hair hand hands hat head high hill hills his horse house ice in inside into is
island it its jacket jungle kaleidoscope kite kitten lake landscape large leaves left lens life light
lighthouse lights like lion little long looking man mature meadow mist moment monkey moon morning motion
mountain mountains mouse moving music near nearby neon night ocean of off old on one open orange out over
owl painting panda paper park path people petals piano pink planet plant plays playing portrait providing
puppy purple rabbit rain rainbow realistic red reflection rhythmic right rises rising river road robot
rocket rolling roof room rose rough running runs sailing sand scene sea sets setting shade shadow shadows
sheep shines ship shore shot single sits sitting sky slow slowly small smile smoke smooth snow soft solitary
solo soothing sound space spinning splendor spring stage standing stands star stars steam still stone storm
street summer sun sunflower sunlight sunrise sunset surface swan swimming swims table tall tea that the
their them then through tide tiger tiny touch tower toy train tranquil tranquility tree trees turning turns
two umbrella under up very video view village violin walking walks wall warm water waterfall wave waves white
wide wild wind window wings winter with woman wood wooden world yellow young
"""
OTHER_WORDS = _OTHER_WORDS.split()
"""Words that prompts often have: the model sees them in long captions, where they mean nothing to it."""

_TRIPLES = """
abl age all anc and ant ard are art ast ate ati ble cal cha com con der dis eat ect eme ent ere ers ess est
ever eve for ful gen ght han hat her hin his ial ica ies igh ill ina ine ing inn int ion ist ite ith ity ive
lar lea les lig lin lly man men mer min mis mon nce nde ned ner ness ngs nte oft oma one oon oot ore ori orm
orn ort ose oth oun our ous out ove pan par per pla pre pro que rai ran rea red res rin rou row run sea sel
she sho sin som son ste sto str sur tal ted ten ter tha the thi tic tin tio tor tra tre tur ume und und ure
use ver vin war wat way whi win wit wor yin
"""
TRIPLES = _TRIPLES.split()
"""Letters that often follow each other within a word."""
