"""The tiny models' architectures, with random weights, in the classes of the large models."""

from __future__ import annotations

from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    UMT5Config,
    UMT5EncoderModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VJEPA2Config,
    VJEPA2Model,
    YolosConfig,
    YolosForObjectDetection,
)

from vader_core.tiny import world
from vader_core.tiny.tokenizers import CONTEXT, clip_tokenizer, word_tokenizer

WAN_CHANNELS = 8
_TEXT_WIDTH = 64


def image_autoencoder() -> AutoencoderKL:
    """Frame autoencoder: 32x32x3 to 8x8x4."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=world.SIZE,
        scaling_factor=1.0,
    )


def video_autoencoder() -> AutoencoderKLWan:
    """Causal video autoencoder: 1+2k frames of 32x32x3 to 1+k latent frames of 8x8x8."""
    return AutoencoderKLWan(
        base_dim=16,
        z_dim=WAN_CHANNELS,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * WAN_CHANNELS,
        latents_std=[1.0] * WAN_CHANNELS,
        scale_factor_temporal=2,
        scale_factor_spatial=4,
    )


def unet_pipeline() -> TextToVideoSDPipeline:
    """The tiny-unet pipeline: DDIM, epsilon prediction."""
    tokenizer = clip_tokenizer()
    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        # Attention at 4x4 only: at 8x8 it would cost as much as all convolutions together.
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(32, 80),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=4,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        # Less of the video may be left at the last timestep than with the usual 0.012: flat shapes
        # show through noise that hides a photograph, and sampling starts from noise alone.
        beta_end=0.02,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
        prediction_type="epsilon",
    )
    text_encoder = CLIPTextModel(clip_text_config())
    return TextToVideoSDPipeline(
        vae=image_autoencoder(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
    )


def clip_text_config() -> CLIPTextConfig:
    """A two-layer CLIP text model over the grammar's vocabulary."""
    tokenizer = clip_tokenizer()
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=4 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def wan_pipeline() -> WanPipeline:
    """The tiny-wan pipeline: a DiT, flow matching, Euler steps."""
    tokenizer = word_tokenizer()
    text_config = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=16,
        d_ff=2 * _TEXT_WIDTH,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=CONTEXT,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=32,
        in_channels=WAN_CHANNELS,
        out_channels=WAN_CHANNELS,
        text_dim=_TEXT_WIDTH,
        freq_dim=128,
        ffn_dim=384,
        num_layers=6,
        cross_attn_norm=True,
        rope_max_seq_len=64,
    )
    return WanPipeline(
        vae=video_autoencoder(),
        text_encoder=UMT5EncoderModel(text_config),
        tokenizer=tokenizer,
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
    )


def action_classifier() -> VideoMAEForVideoClassification:
    """The action reward: which way a video's shape moves."""
    labels = dict(enumerate(world.ACTION_LABELS))
    config = VideoMAEConfig(
        image_size=world.SIZE,
        patch_size=8,
        num_channels=3,
        num_frames=8,
        tubelet_size=2,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=256,
        use_mean_pooling=True,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    return VideoMAEForVideoClassification(config)


def detector() -> YolosForObjectDetection:
    """The object rewards: which shapes a frame shows, and where."""
    labels = dict(enumerate(world.SHAPES))
    config = YolosConfig(
        image_size=[world.SIZE, world.SIZE],
        patch_size=4,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        num_detection_tokens=5,
        use_mid_position_embeddings=False,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
    )
    return YolosForObjectDetection(config)


def video_predictor() -> VJEPA2Model:
    """The temporal-consistency reward: predicts the features of what it was not shown."""
    config = VJEPA2Config(
        crop_size=world.SIZE,
        frames_per_clip=8,
        tubelet_size=2,
        patch_size=8,
        hidden_size=64,
        num_attention_heads=4,
        num_hidden_layers=4,
        mlp_ratio=3.0,
        pred_hidden_size=48,
        pred_num_attention_heads=3,
        pred_num_hidden_layers=3,
        pred_num_mask_tokens=1,
        pred_mlp_ratio=3.0,
    )
    return VJEPA2Model(config)


def clip_model() -> CLIPModel:
    """The text-match reward: single frames against captions."""
    vision = {
        "hidden_size": 96,
        "intermediate_size": 256,
        "projection_dim": _TEXT_WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": world.SIZE,
        "patch_size": 8,
    }
    config = CLIPConfig(
        text_config=clip_text_config().to_dict(),
        vision_config=vision,
        projection_dim=_TEXT_WIDTH,
    )
    return CLIPModel(config)
