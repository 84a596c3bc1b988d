"""The parts of the small model: a CogVideoX pipeline with little of everything, and a tokenizer to match.

Only what shrinks is chosen here; what CogVideoX-5B has in common with it (channels of the latents,
compression, rotary positions, 226 text tokens, v-prediction on a zero-terminal-SNR schedule) is as published.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from string import ascii_letters, ascii_lowercase, digits, punctuation

import diffusers
import torch
import transformers

from inference.prompt_embeddings import MAX_TEXT_TOKENS
from inference.quiet_libraries import quieten_libraries

_SENTINELS = 100  # T5's <extra_id_n>
_TEXT_WIDTH = 32

# Words of many prompts, each of them one token; others are spelled in twos and threes of letters.
_WORDS = """
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
_TRIPLES = """
abl age all anc and ant ard are art ast ate ati ble cal cha com con der dis eat ect eme ent ere ers ess est
ever eve for ful gen ght han hat her hin his ial ica ies igh ill ina ine ing inn int ion ist ite ith ity ive
lar lea les lig lin lly man men mer min mis mon nce nde ned ner ness ngs nte oft oma one oon oot ore ori orm
orn ort ose oth oun our ous out ove pan par per pla pre pro que rai ran rea red res rin rou row run sea sel
she sho sin som son ste sto str sur tal ted ten ter tha the thi tic tin tio tor tra tre tur ume und und ure
use ver vin war wat way whi win wit wor yin
"""


def save_small_pipeline(directory: Path, seed: int) -> None:
    """Draw the small model's weights with `seed` and save it in diffusers format to an existing directory."""
    quieten_libraries()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _tokenizer()
        pipeline = diffusers.CogVideoXPipeline(  # type: ignore[no-untyped-call]
            tokenizer=tokenizer,
            text_encoder=_text_encoder(len(tokenizer)),
            vae=_vae(),
            transformer=_transformer(),
            scheduler=_scheduler(),
        )
    pipeline.save_pretrained(directory, safe_serialization=True)  # type: ignore[attr-defined]


def _tokenizer() -> transformers.T5Tokenizer:
    """Make a T5 tokenizer of chosen pieces, not trained ones: so there is nothing to vary from run to run."""
    words = {f"▁{cased}" for word in _WORDS.split() for cased in (word, word.capitalize())}
    letters = {*ascii_letters, *digits, *punctuation, "▁"}
    pairs = {"".join(pair) for pair in product(ascii_lowercase, repeat=2)}
    pairs |= {f"▁{letter}" for letter in ascii_letters}
    # Log-probabilities: of all spellings the one of the fewest pieces wins.
    pieces = {
        **dict.fromkeys(sorted(letters), -10.0),
        **dict.fromkeys(sorted(pairs), -11.0),
        **dict.fromkeys(sorted(set(_TRIPLES.split())), -12.0),
        **dict.fromkeys(sorted(words), -8.0),
    }
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(_SENTINELS))]
    return transformers.T5Tokenizer(
        vocab=[*special, *pieces.items(), *sentinels], extra_ids=_SENTINELS, model_max_length=MAX_TEXT_TOKENS
    )


def _text_encoder(vocabulary: int) -> transformers.T5EncoderModel:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=vocabulary,
            d_model=_TEXT_WIDTH,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def _transformer() -> diffusers.CogVideoXTransformer3DModel:
    return diffusers.CogVideoXTransformer3DModel(  # type: ignore[no-untyped-call]
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=3,
        text_embed_dim=_TEXT_WIDTH,
        time_embed_dim=32,
        max_text_seq_length=MAX_TEXT_TOKENS,
        sample_width=96 // 8,
        sample_height=64 // 8,
        sample_frames=49,
        use_rotary_positional_embeddings=True,
    )


def _scheduler() -> diffusers.CogVideoXDPMScheduler:
    return diffusers.CogVideoXDPMScheduler(  # type: ignore[no-untyped-call]
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def _vae() -> diffusers.AutoencoderKLCogVideoX:
    vae = diffusers.AutoencoderKLCogVideoX(  # type: ignore[no-untyped-call]
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=2,
        sample_width=96,
        sample_height=64,
        scaling_factor=0.7,
    )
    _soften(vae.decoder)  # type: ignore[attr-defined]
    return vae


@torch.no_grad()
def _soften(decoder: torch.nn.Module) -> None:
    """Let the decoder's random convolutions mix channels freely, but only blur in space and time.

    Random kernels make a video of coloured noise; these make clouds of colour that drift and change, which
    an eye, an interpolator and a video encoder find more like a video.
    """
    blur = torch.tensor([0.25, 0.5, 0.25])
    blur_square = blur[:, None] * blur
    blur_cube = torch.full((3,), 1 / 3)[:, None, None] * blur_square
    for name, module in decoder.named_modules():
        if name.endswith(("conv_y.conv", "conv_b.conv")):
            # Scale by 1, shift by 0: normalising by the latents would print their grid on the picture.
            module.weight.zero_()
            module.bias.fill_(1.0 if name.endswith("conv_y.conv") else 0.0)
        elif isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
            # Gains chosen by eye: 1.5 makes up for the contrast that blurring takes.
            gain = 1.0 if name == "conv_out.conv" else 1.5
            mixing = torch.randn(module.weight.shape[:2]) * gain / module.in_channels**0.5
            module.weight.copy_(mixing[..., None, None, None] * blur_cube)
        elif isinstance(module, torch.nn.Conv2d):
            # Follows a doubling by repetition and makes it a linear interpolation.
            module.weight.copy_(torch.eye(module.in_channels)[..., None, None] * blur_square)
            assert module.bias is not None
            module.bias.zero_()
