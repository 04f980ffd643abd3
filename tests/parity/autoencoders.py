"""Expected numbers of the unit tests in src/diffusion: autoencoder, vae, tiny_vae and resnet.

    pip install diffusers==0.42.1 torch==2.15.0 && python tests/parity/autoencoders.py

Weights and inputs follow the rule of `src/diffusion/autoencoder/testing.rs`; both sides draw them by name.
Printed for each case: mean of the absolute values, then five values spread evenly over the flattened output.
"""

import torch
from torch import nn
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

MASK = 2**64 - 1


def uniform(name, count):
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    values = []
    for i in range(count):
        z = (state + (i + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        values.append(((z ^ (z >> 31)) >> 40) / 2**24)
    return torch.tensor(values, dtype=torch.float64)


def draw(name, shape, low=-1.0, high=1.0):
    values = uniform(name, torch.Size(shape).numel())
    return (low + (high - low) * values).float().reshape(shape)


def fill(model):
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            high = (3 / parameter[0].numel()) ** 0.5
            parameter.data = draw(name, parameter.shape, -high, high)
        elif name.endswith("weight"):
            parameter.data = draw(name, parameter.shape, 0.8, 1.2)
        else:
            parameter.data = draw(name, parameter.shape, -0.1, 0.1)
    return model.eval()


def show(title, x):
    flat = x.double().flatten()
    picks = [flat[i * (len(flat) - 1) // 4].item() for i in range(5)]
    print(f"{title} {list(x.shape)}: [{', '.join(f'{v:.7f}' for v in [flat.abs().mean().item(), *picks])}]")


def kl(**options):
    blocks = 3
    config = dict(
        block_out_channels=(4, 8, 8),
        norm_num_groups=2,
        latent_channels=3,
        sample_size=16,
        down_block_types=["DownEncoderBlock2D"] * blocks,
        up_block_types=["UpDecoderBlock2D"] * blocks,
    )
    return fill(AutoencoderKL(**{**config, **options}))


def pooled(block):
    """TAESD's block with `use_midblock_gn` (commit 5cccb12)."""
    width = block.conv[0].in_channels
    block.pool = nn.Sequential(
        nn.Conv2d(width, 4 * width, 1, bias=False),
        nn.GroupNorm(4, 4 * width),
        nn.ReLU(),
        nn.Conv2d(4 * width, width, 1, bias=False),
    )
    forward = block.forward
    block.forward = lambda x: forward(x + block.pool(x))


def tiny(gn=False, **options):
    config = dict(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 2, 1),
        num_decoder_blocks=(1, 1, 2),
        latent_channels=5,
    )
    model = AutoencoderTiny(**{**config, **options})
    if gn:
        pooled(model.encoder.layers[6])
        pooled(model.decoder.layers[2])
    return fill(model)


@torch.no_grad()
def main():
    image, latents = draw("image", (2, 3, 22, 19)), draw("latents", (2, 3, 5, 6))
    for title, vae in [
        ("kl", kl()),
        ("kl layers 2, 1 and 2 channels", kl(layers_per_block=2, in_channels=1, out_channels=2)),
        ("kl plain", kl(mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False)),
    ]:
        posterior = vae.encode(image[:, : vae.config.in_channels]).latent_dist
        show(f"{title} mean", posterior.mean)
        show(f"{title} logvar", posterior.logvar)
        show(f"{title} kl", posterior.kl())
        show(f"{title} decoded", vae.decode(latents).sample)

    vae = kl()
    vae.enable_tiling()
    show("kl tiled moments", vae.encode(draw("image", (1, 3, 41, 29))).latent_dist.parameters)
    show("kl tiled decoded", vae.decode(draw("latents", (1, 3, 11, 6))).sample)

    latents = draw("latents", (2, 5, 5, 6), -6, 6)
    for act in ["relu", "silu", "gelu", "mish"]:
        vae = tiny(act_fn=act)
        show(f"tiny {act} latents", vae.encode(image).latents)
        show(f"tiny {act} decoded", vae.decode(latents).sample)
    vae = tiny(gn=True)
    show("tiny gn latents", vae.encode(image).latents)
    show("tiny gn decoded", vae.decode(latents).sample)
    show("tiny scaled", vae.scale_latents(latents))

    x, time = draw("x", (2, 4, 5, 7)), draw("time", (2, 6))
    # ResnetBlock2D applies the SiLU to the time embedding itself; our blocks get it applied.
    for title, block, embedding in [
        ("resnet time", ResnetBlock2D(in_channels=4, out_channels=6, temb_channels=6, groups=2, eps=1e-5), time),
        ("resnet same", ResnetBlock2D(in_channels=4, out_channels=4, temb_channels=None, groups=2, eps=1e-6), None),
    ]:
        show(title, fill(block)(x * 0.01, embedding))
    for title, padding in [("down all sides", 1), ("down right and bottom", 0)]:
        block = Downsample2D(4, use_conv=True, padding=padding)
        del block.Conv2d_0
        block.conv = nn.Conv2d(4, 4, 3, stride=2, padding=padding)
        show(title, fill(block)(x))
    show("up", fill(Upsample2D(4, use_conv=True))(x, output_size=(9, 14)))


def slope(title, loss, at):
    """Derivative of `loss` in the direction `direction`, in 64 bits."""
    at = at.double().requires_grad_()
    loss(at).backward()
    print(f"{title}: {(at.grad * draw('direction', at.shape)).sum().item():.7f}")


def slopes():
    noise = draw("noise", (1, 3, 2, 2)).double()
    vae = kl().double()

    def kl_loss(images):
        posterior = vae.encode(images).latent_dist
        return vae.decode(posterior.mean + posterior.std * noise).sample.square().mean() + posterior.kl().mean()

    slope("kl slope", kl_loss, draw("image", (1, 3, 9, 8)))
    small = tiny(gn=True, act_fn="silu").double()
    slope("tiny slope", lambda x: small.decode(small.encode(x).latents * 4).sample.square().mean(), draw("image", (1, 3, 8, 12)))


main()
slopes()
